import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { asArray, asString, at } from '../../../src/json.ts';
import { cgroupHierarchies, createCgroups, removeCgroups } from '../../cluster/lab/cgroups.ts';

const DEPLOYMENT = new URL('../../../deploy/deployment.yaml', import.meta.url);

export interface MemoryLimit {
  /** A process is under it from when its id is written to this file. */
  readonly file: string;
  /** Once no process is under it any more. */
  remove(): void;
}

/**
 * As the manifest gives it to the gate's pod: Node makes its heap the smaller, and collects the sooner, the less memory there is.
 */
export function limitMemory(name: string): MemoryLimit {
  const [container] = asArray(
    at(parse(readFileSync(DEPLOYMENT, 'utf8')), 'spec', 'template', 'spec', 'containers'),
  );
  const mebibytes = /^(\d+)Mi$/.exec(asString(at(container, 'resources', 'limits', 'memory')) ?? '')?.[1];
  if (mebibytes === undefined) throw new Error('deploy/deployment.yaml: no limit of memory in Mi');
  createCgroups(name);
  try {
    return {
      file: join(limited(name, Number(mebibytes)), 'cgroup.procs'),
      remove: () => removeCgroups(name),
    };
  } catch (error) {
    removeCgroups(name);
    throw error;
  }
}

/** Returns the cgroup's folder. */
function limited(name: string, mebibytes: number): string {
  const hierarchies = cgroupHierarchies(readFileSync('/proc/mounts', 'utf8'));
  const one =
    hierarchies.find(({ controllers }) => controllers.includes('memory')) ??
    hierarchies.find(({ version }) => version === 2);
  if (one === undefined) throw new Error('this machine has no cgroup that limits memory');
  const folder = join(one.mountPoint, name);
  const limit = one.version === 1 ? 'memory.limit_in_bytes' : 'memory.max';
  writeFileSync(join(folder, limit), String(mebibytes * 2 ** 20));
  return folder;
}
