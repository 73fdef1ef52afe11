import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

export interface Hierarchy {
  version: 1 | 2;
  mountPoint: string;
  controllers: string[];
}

/** From the text of /proc/mounts: one entry with cgroup v2, one for each controller with v1, both when mixed. */
export function cgroupHierarchies(mounts: string): Hierarchy[] {
  return mounts.split('\n').flatMap((line): Hierarchy[] => {
    const [, mountPoint = '', type, options = ''] = line.split(' ');
    if (type === 'cgroup2') {
      return [{ version: 2, mountPoint, controllers: [] }];
    }
    return type === 'cgroup' ? [{ version: 1, mountPoint, controllers: options.split(',') }] : [];
  });
}

/** A kubelet wants its root cgroup to be there, in every hierarchy. */
export function createCgroups(name: string): void {
  for (const { mountPoint } of cgroupHierarchies(readFileSync('/proc/mounts', 'utf8'))) {
    mkdirSync(join(mountPoint, name), { recursive: true });
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

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) {
      removeTree(join(folder, entry.name));
    }
  }
  rmdirSync(folder);
}
