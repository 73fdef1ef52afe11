import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './until.ts';

/** Names the cgroup of the lab in another machine: see machine.ts. */
export const CGROUP_VARIABLE = 'PULLGATE_LAB_CGROUP';
const DEFAULT_CGROUP = 'pullgate-lab';
/** Below this, in every cgroup hierarchy, one cgroup a node holds its containers. */
export const CGROUP = process.env[CGROUP_VARIABLE] || DEFAULT_CGROUP;

export function cgroupOfMachine(name: string): string {
  return `${DEFAULT_CGROUP}-${name}`;
}

export interface Hierarchy {
  version: 1 | 2;
  mountPoint: string;
  controllers: string[];
}

/**
 * From the text of /proc/mounts: one entry with cgroup v2, one for each controller with v1, both when
 * mixed.
 */
export function cgroupHierarchies(mounts: string): Hierarchy[] {
  return mounts.split('\n').flatMap((line): Hierarchy[] => {
    const [, mountPoint = '', type, options = ''] = line.split(' ');
    if (type === 'cgroup2') {
      return [{ version: 2, mountPoint, controllers: [] }];
    }
    return type === 'cgroup' ? [{ version: 1, mountPoint, controllers: options.split(',') }] : [];
  });
}

/** What a kubelet checks that a cgroup v2 folder has. */
const V2_CONTROLLERS = ['cpu', 'cpuset', 'memory', 'pids'];

/** A kubelet wants its root cgroup to be there, in every hierarchy. */
export function createCgroups(name: string): void {
  for (const { version, mountPoint } of cgroupHierarchies(readFileSync('/proc/mounts', 'utf8'))) {
    mkdirSync(join(mountPoint, name), { recursive: true });
    if (version === 2) {
      delegate(mountPoint, name);
    }
  }
}

/**
 * With cgroup v2 a folder has the controllers that each folder above it passes on; beside v1 there are
 * none.
 */
function delegate(mountPoint: string, name: string): void {
  let folder = mountPoint;
  for (const part of name.split('/')) {
    const available = readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ');
    for (const controller of V2_CONTROLLERS.filter((one) => available.includes(one))) {
      writeFileSync(join(folder, 'cgroup.subtree_control'), `+${controller}`);
    }
    folder = join(folder, part);
  }
}

export function cgroupFolders(name: string): string[] {
  return cgroupHierarchies(readFileSync('/proc/mounts', 'utf8'))
    .map(({ mountPoint }) => join(mountPoint, name))
    .filter((folder) => existsSync(folder));
}

/** A cgroup can be removed only by rmdir, innermost first, and only when no process is in it any more. */
export function removeCgroups(name: string): void {
  for (const folder of cgroupFolders(name)) {
    removeTree(folder);
  }
}

/** Processes of a killed node leave their cgroups a moment after they left the process table. */
export async function removeCgroupsSoon(name: string): Promise<void> {
  await until(
    `the cgroups ${name} are removed`,
    15,
    () => {
      removeCgroups(name);
      return true;
    },
    50,
  );
}

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) {
      removeTree(join(folder, entry.name));
    }
  }
  rmdirSync(folder);
}
