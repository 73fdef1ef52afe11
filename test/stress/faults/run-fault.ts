import { until } from '../../support/e2e/until.ts';
import type { Fault } from './faults.ts';
import type { History, OpenHold } from './history.ts';
import { completeAt, judge, releasesOf } from './invariants.ts';
import type { Lane } from './lane.ts';
import { type Observer, observe } from './observer.ts';
import type { Stage } from './stage.ts';

/** Twice the longest back-off that a fault of a minute leads to (30 s, then 60 s, src/preloads/assess/pull-times.ts). */
const RELEASED_SECONDS = 120;

export interface Outcome {
  /** From what the fault names to the next hold that was released. */
  readonly recoverySeconds: number;
  /** How many holds were open. */
  readonly holds: number;
  /** What was promised and not kept. */
  readonly broken: readonly string[];
}

/** Opens holds, has the fault happen, waits until all is well again, and judges what was seen meanwhile. */
export async function runFault(
  stage: Stage,
  lane: Lane,
  fault: Fault,
  options: { readonly seconds: number; readonly log: (line: string) => void },
): Promise<Outcome> {
  const { seconds, log } = options;
  await fault.prepare?.(stage);
  await stage.replicas.ready();
  await lane.rolledOut();
  const observer = await observe(stage.api, lane.namespace.name);
  try {
    const holds = await lane.open(fault.megabytes);
    log(`${fault.name}: ${holds.length} holds are open`);
    const since = await fault.inflict(stage, lane, seconds);
    log(`${fault.name}: it is over`);
    const late = await lateIn(lane);
    log(`${fault.name}: ${late.length === 0 ? 'all that could be is released' : 'something is held still'}`);
    await stage.replicas.ready();
    if (late.length === 0) await lane.rolledOut();
    const history = await historyOf(stage, lane, holds, observer);
    return {
      recoverySeconds: recoverySeconds(history, fault, since),
      holds: holds.length,
      broken: [...late, ...judge(history)],
    };
  } finally {
    await observer.stop();
  }
}

/** What is not as it should be in the end: the images are there to be had, so their holds end; the one that there is not is told. */
async function lateIn(lane: Lane): Promise<string[]> {
  const state = async () => ({ held: await lane.held(), failing: await lane.failing() });
  try {
    await until(
      'only the missing image is waited for',
      RELEASED_SECONDS,
      state,
      ({ held, failing }) => held.join() === 'missing' && failing.includes('missing'),
    );
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

async function historyOf(
  { images }: Stage,
  lane: Lane,
  holds: readonly OpenHold[],
  { seen }: Observer,
): Promise<History> {
  // What the lane knows of is heard of by the observer a moment later.
  const [releasesTold, failing] = await Promise.all([lane.releasesTold(), lane.failing()]);
  await until(
    'the observer has heard of the end',
    30,
    () => releasesOf({ seen, arrivals: [], holds, releasesTold, failing }).length,
    (count) => count >= holds.length - 1,
  ).catch(() => undefined);
  return { seen: [...seen], arrivals: [...images.arrivals], holds, releasesTold, failing };
}

function recoverySeconds(history: History, fault: Fault, since: number): number {
  const releases = releasesOf(history);
  if (fault.from === 'the last pull') {
    const delays = history.holds.flatMap(({ deployment, image }) => {
      const release = releases.find((one) => one.deployment === deployment);
      return release === undefined ? [] : [release.at - completeAt(history, image, release.at)];
    });
    return Math.max(0, ...delays) / 1000;
  }
  const next = releases.find(({ at }) => at >= since)?.at;
  return next === undefined ? 0 : (next - since) / 1000;
}
