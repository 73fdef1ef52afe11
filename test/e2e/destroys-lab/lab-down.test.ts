import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { cgroupFolders } from '../../cluster/lab/cgroups.ts';
import { down, status, up } from '../../cluster/lab/lab.ts';
import { STATE } from '../../cluster/lab/paths.ts';
import { mainProcess, markedProcesses } from '../../cluster/lab/process-table.ts';

/** Everything by which one could tell that a lab is or was here. */
function traces(): string[] {
  const netns = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return [
    ...markedProcesses().map(({ pid, component }) => `process ${pid} ${component}`),
    ...netns.filter((name) => name.startsWith('pullgate-lab')).map((name) => `namespace ${name}`),
    ...readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes('pullgate-lab')),
    ...cgroupFolders('pullgate-lab').map((folder) => `cgroup ${folder}`),
    ...readdirSync('/sys/class/net')
      .filter((name) => /^(lab0|to-node-)/.test(name))
      .map((name) => `link ${name}`),
    ...[STATE, '/run/containerd/s'].filter((path) => existsSync(path)).map((path) => `file ${path}`),
  ];
}

test('down leaves nothing, on a healthy lab, on one that was killed in parts, and on none', async () => {
  const lab = await up();
  const image = await lab.pushImage({ repository: 'lab-down', tag: 'v1', base: 'scratch' });
  await lab.kubectl(['run', 'lab-down', `--image=${image}`, '--restart=Never']);
  await lab.kubectl(['wait', '--for=condition=Ready', 'pod/lab-down', '--timeout=60s']);
  await down();
  assert.deepEqual(traces(), []);

  await up({ nodes: 1 });
  for (const component of ['hub/etcd', 'node-1/init', 'hub/socat']) {
    process.kill(mainProcess(component)?.pid ?? 0, 'SIGKILL');
  }
  await down();
  assert.deepEqual(traces(), []);

  await down();
  assert.deepEqual(traces(), []);
  assert.equal((await status()).running, false);
});

test('up makes a fresh lab when everything of the old one was killed', async () => {
  await up();
  for (const { pid } of markedProcesses()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Went with its node's init.
    }
  }
  await up();
  assert.deepEqual((await status()).problems, []);
});
