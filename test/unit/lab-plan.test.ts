import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeAddress, nodeNumber } from '../cluster/lab/addresses.ts';
import { cgroupHierarchies } from '../cluster/lab/cgroups.ts';
import { reference } from '../cluster/lab/images.ts';

test('a node has its addresses from its number', () => {
  assert.deepEqual(nodeAddress('node-3'), {
    name: 'node-3',
    number: 3,
    netns: 'pullgate-lab-node-3',
    address: '10.200.0.13',
    podNetwork: '10.201.3.0/24',
    hubLink: 'to-node-3',
  });
  assert.equal(nodeAddress('node-200').hubLink.length <= 15, true, 'the kernel takes 15 characters');
});

test('other names are no nodes', () => {
  for (const name of ['node-0', 'node-201', 'node-01', 'node-', 'node-1x', '../node-1', 'worker-1']) {
    assert.equal(nodeNumber(name), undefined, name);
    assert.throws(() => nodeAddress(name), /not a node of the lab/);
  }
});

test('cgroup hierarchies are read from the mounts, all kinds of them', () => {
  const mounts = `proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`;
  assert.deepEqual(cgroupHierarchies(mounts), [
    {
      version: 1,
      mountPoint: '/sys/fs/cgroup/cpu,cpuacct',
      controllers: ['rw', 'relatime', 'cpu', 'cpuacct'],
    },
    { version: 2, mountPoint: '/sys/fs/cgroup/unified', controllers: [] },
  ]);
});

test('an image is referred to by the registry that it was pushed to', () => {
  const image = { repository: 'team/app', tag: 'v1', base: 'busybox' } as const;
  assert.equal(reference(image), 'registry.lab:5000/team/app:v1');
  assert.equal(reference({ ...image, registry: 'private' }), 'private.registry.lab:5002/team/app:v1');
});
