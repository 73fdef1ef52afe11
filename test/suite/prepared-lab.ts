import { messageOf } from '../cluster/lab/errors.ts';
import { buildGateImage, storeGateImage } from '../cluster/lab/gate-image.ts';
import { CURRENT, previousSource } from '../cluster/lab/gate-source.ts';
import { build, type Lab, up } from '../cluster/lab/lab.ts';
import { buildNeighbours } from '../cluster/lab/neighbours.ts';
import type { Release } from '../cluster/lab/prepare.ts';

type Log = (line: string) => void;

/**
 * Builds everything that labs of these releases and their tests need, and starts none: a lab in a machine of its own reaches no
 * registry and no module proxy. Returns the environment of the lab's programs.
 */
export async function buildAll(
  releases: readonly (Release | undefined)[],
  log: Log,
): Promise<Record<string, string>> {
  let env: Record<string, string> = {};
  for (const kubernetes of releases) env = await build({ kubernetes, noFallback: true, log });
  await buildNeighbours(log);
  await storeGateImage(CURRENT, log);
  await withPrevious(log, (source) => storeGateImage(source, log));
  return env;
}

/** The lab of that release, with all that its tests need; what has been built is not built again. */
export async function preparedLab(kubernetes: Release | undefined, log: Log): Promise<Lab> {
  const lab = await up({ kubernetes, noFallback: true, log });
  await buildNeighbours(log);
  await buildGateImage(lab, log);
  await withPrevious(log, (source) => buildGateImage(lab, log, source));
  return lab;
}

async function withPrevious(log: Log, work: (source: typeof CURRENT) => Promise<unknown>): Promise<void> {
  try {
    await work(await previousSource());
  } catch (error) {
    // Only the test of upgrades needs it, and fails with the same words.
    log(messageOf(error));
  }
}
