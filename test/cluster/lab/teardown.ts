import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { type NodeAddress, nodeNumber } from './addresses.ts';
import { ApiServer } from './api-server.ts';
import { identityFiles } from './certificates.ts';
import { CGROUP, removeCgroupsSoon } from './cgroups.ts';
import { run } from './command.ts';
import { type Ground, serverUrl } from './ground.ts';
import { netnsNames, removeEmptyNetnsFolder, removeNetns, removeNodeNetwork } from './namespaces.ts';
import { MACHINE_FOLDERS, nodeFolder } from './node.ts';
import { STATE, state } from './paths.ts';
import { isAlive, type MarkedProcess, markedProcesses, signal } from './process-table.ts';
import { until } from './until.ts';

/** Node names of which there is a folder: those that the lab has, running or not. */
export function nodeNames(): string[] {
  if (!existsSync(state('nodes'))) {
    return [];
  }
  return readdirSync(state('nodes'))
    .filter((name) => nodeNumber(name) !== undefined)
    .sort((one, other) => (nodeNumber(one) ?? 0) - (nodeNumber(other) ?? 0));
}

/**
 * Ends and removes everything that is marked as the lab's, whatever state it is in. Without mercy: a lab
 * that goes down has nothing to save.
 */
export async function tearDown(log: (line: string) => void): Promise<void> {
  await endProcesses(() => true);
  for (const name of netnsNames()) {
    await removeNetns(name);
  }
  await removeEmptyNetnsFolder();
  await removeCgroupsSoon(CGROUP);
  await removeState();
  for (const folder of MACHINE_FOLDERS) {
    try {
      // Refused unless it is empty: then it is only what nodes mounted their own folder over.
      rmdirSync(folder);
    } catch {
      // Not there, or somebody's.
    }
  }
  log('the lab is down');
}

export async function removeNode(ground: Ground, node: NodeAddress): Promise<void> {
  await endProcesses(({ component }) => component.startsWith(`${node.name}/`));
  const server = new ApiServer(serverUrl(ground));
  await server.delete(`/api/v1/nodes/${node.name}`);
  await server.deletePodsOf(node.name);
  await removeNodeNetwork(ground.tools, node);
  await removeCgroupsSoon(`${CGROUP}/${node.name}`);
  const { certificate, key } = identityFiles(node.name);
  for (const path of [nodeFolder(node), certificate, key]) {
    rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

async function endProcesses(which: (process: MarkedProcess) => boolean): Promise<void> {
  await until(
    "the lab's processes end",
    30,
    () => {
      const left = markedProcesses().filter((process) => which(process) && isAlive(process.pid));
      for (const { pid } of left) {
        signal(pid, 'SIGKILL');
      }
      return left.length === 0 || left.map(({ pid, component }) => `${component} (${pid})`).join(', ');
    },
    30,
  );
}

async function removeState(): Promise<void> {
  // A node's mounts vanish with its namespace, so there is none below STATE that this could reach into.
  // A process that was just killed may still be writing its last file: then a folder is not empty any more.
  await until('the folder of the lab is removed', 15, async (): Promise<true> => {
    await run(['rm', '--recursive', '--force', '--one-file-system', STATE]);
    return true;
  });
}
