import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lacking, type MachineFacts, refusal } from '../cluster/lab/preflight.ts';

const V1 = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'pids'].map((controller) => ({
  version: 1 as const,
  mountPoint: `/sys/fs/cgroup/${controller}`,
  controllers: ['rw', controller],
  writable: true,
}));
const V2 = { version: 2 as const, mountPoint: '/sys/fs/cgroup', controllers: [], writable: true };

const FINE: MachineFacts = {
  platform: 'linux',
  architecture: 'x64',
  root: true,
  release: 'bookworm',
  processors: 2,
  availableMemoryMegabytes: 8000,
  freeCacheMegabytes: 20_000,
  freeStateMegabytes: 20_000,
  cgroups: [V2],
  missingCommands: [],
  namespaces: true,
  overlay: true,
  cached: false,
  running: false,
};

test('nothing is lacking on a fitting machine, with either kind of cgroups or both', () => {
  assert.deepEqual(lacking(FINE), []);
  assert.deepEqual(lacking({ ...FINE, cgroups: V1 }), []);
  assert.deepEqual(lacking({ ...FINE, cgroups: [...V1, V2] }), []);
  assert.deepEqual(lacking({ ...FINE, architecture: 'arm64' }), []);
});

test('everything that is lacking is named at once', () => {
  const lines = lacking({
    ...FINE,
    architecture: 'riscv64',
    release: 'noble',
    availableMemoryMegabytes: 500,
    freeCacheMegabytes: 100,
    freeStateMegabytes: 100,
    cgroups: [],
    missingCommands: ['unshare', 'nsenter'],
    namespaces: 'unshare: Operation not permitted',
    overlay: 'mount: unknown filesystem type',
  }).join('\n');
  const wanted = [
    'riscv64',
    'noble',
    '3000 MB available',
    'cache folder',
    '/var/lib/pullgate-lab',
    'cgroups: none',
  ];
  for (const words of [...wanted, 'unshare, nsenter', 'Operation not permitted', 'unknown filesystem']) {
    assert.ok(lines.includes(words), `${words} in\n${lines}`);
  }
});

test('without root the trials that need root are not held against the machine', () => {
  const lines = lacking({ ...FINE, root: false, namespaces: 'not tried', overlay: 'not tried', cgroups: [] });
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /^root/);
});

test('another operating system gets a short answer', () => {
  assert.deepEqual(lacking({ ...FINE, platform: 'darwin', cgroups: [], root: false }), [
    'Linux: this is darwin',
  ]);
});

test('a full cache needs no room for a build, and a running lab has its memory already', () => {
  assert.deepEqual(
    lacking({ ...FINE, cached: true, freeCacheMegabytes: 0, availableMemoryMegabytes: 2000 }),
    [],
  );
  assert.deepEqual(lacking({ ...FINE, cached: true, running: true, availableMemoryMegabytes: 100 }), []);
});

test('a mounted but incomplete or read-only set of cgroups is told apart', () => {
  const partial = V1.filter(({ controllers }) => !controllers.includes('pids'));
  assert.deepEqual(lacking({ ...FINE, cgroups: partial }), ['cgroup controllers: pids not mounted']);
  assert.match(lacking({ ...FINE, cgroups: [{ ...V2, writable: false }] })[0] ?? '', /^writable cgroups/);
});

test('a refusal says how long a first run takes and what to use instead', () => {
  const text = refusal(['root: ...'], { ...FINE, root: false });
  assert.match(text, /first run on this machine: about \d+ minutes/);
  assert.match(text, /kind/);
});
