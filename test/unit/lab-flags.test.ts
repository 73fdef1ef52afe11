import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flags, formatVersion, isFallback, parseVersion } from '../cluster/lab/flags.ts';

const ENDPOINT = 'unix:///run/containerd/containerd.sock';
const minor = (number: number) => flags({ major: 1, minor: number, patch: 0 }, ENDPOINT);

test('reads what `kubelet --version` prints', () => {
  assert.deepEqual(parseVersion('Kubernetes v1.20.2\n'), { major: 1, minor: 20, patch: 2 });
  assert.deepEqual(parseVersion('Kubernetes v1.37.2+distribution.1'), { major: 1, minor: 37, patch: 2 });
  assert.equal(formatVersion(parseVersion('v1.30.14-rc.0')), '1.30.14');
  assert.throws(() => parseVersion('command not found'), /not a Kubernetes version/);
});

test('the fallback, 1.20, takes the runtime by flags and closes the insecure ports', () => {
  assert.deepEqual(minor(20), {
    kubelet: ['--container-runtime=remote', `--container-runtime-endpoint=${ENDPOINT}`],
    kubeletConfiguration: {},
    controllerManager: ['--port=0'],
    scheduler: ['--port=0'],
  });
});

test('a supported version takes the runtime from the configuration and needs no flags', () => {
  const { kubelet, kubeletConfiguration, controllerManager, scheduler } = minor(30);
  assert.deepEqual([kubelet, controllerManager, scheduler], [[], [], []]);
  assert.equal(kubeletConfiguration['containerRuntimeEndpoint'], ENDPOINT);
});

test('no configuration field is used before the version that has it', () => {
  assert.equal('failCgroupV1' in minor(30).kubeletConfiguration, false);
  assert.equal(minor(31).kubeletConfiguration['failCgroupV1'], false);
});

test('unsupported versions are refused, and versions newer than the known ones are tried', () => {
  assert.throws(() => minor(29), /does not run Kubernetes 1\.29\.0\. It needs 1\.30 or later/);
  assert.throws(() => minor(19), /does not run/);
  assert.throws(() => flags({ major: 2, minor: 30, patch: 0 }, ENDPOINT), /does not run/);
  assert.deepEqual(minor(38), minor(37));
});

test('only 1.20 is the fallback', () => {
  assert.equal(isFallback({ major: 1, minor: 20, patch: 2 }), true);
  assert.equal(isFallback({ major: 1, minor: 30, patch: 0 }), false);
});
