import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.ts';
import { LabError } from './errors.ts';
import { cacheFolder } from './paths.ts';

/** A state of the gate's source, for its image and its manifests. */
export interface GateSource {
  /** A folder like this checkout. */
  readonly folder: string;
  /** What its images are called in buildah's store and in the lab's registry. */
  readonly repository: string;
}

const CHECKOUT = join(import.meta.dirname, '../../..');

export const CURRENT: GateSource = { folder: CHECKOUT, repository: 'pullgate' };

/**
 * What upgrades start from: the last state whose manifests still knew servers before 1.30. Replace it by the commit of the
 * latest release as soon as there is one.
 */
const PREVIOUS_COMMIT = '1e8766e2a018f2d0936d47c844349b505161f9bb';

/** The source that upgrades start from, taken out of Git's history once. */
export async function previousSource(): Promise<GateSource> {
  const folder = join(cacheFolder(), `gate-${PREVIOUS_COMMIT.slice(0, 12)}`);
  if (!existsSync(folder)) {
    const partial = `${folder}.partial`;
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(partial, { recursive: true });
    const archive = join(partial, 'archive.tar');
    const git = ['git', '-C', CHECKOUT, 'archive', '--output', archive, PREVIOUS_COMMIT];
    const { code, stderr } = await run(git, { allowFailure: true });
    if (code !== 0) {
      throw new LabError(
        `the test of upgrades needs commit ${PREVIOUS_COMMIT.slice(0, 12)}, and this clone does not have it. Run: git fetch --unshallow (${stderr.trim()})`,
      );
    }
    await run(['tar', '--extract', '-C', partial, '-f', archive]);
    rmSync(archive);
    renameSync(partial, folder);
  }
  return { folder, repository: 'pullgate-previous' };
}
