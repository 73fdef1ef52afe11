import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flags, formatVersion, parseVersion } from '../lab/flags.ts';

const ENDPOINT = 'unix:///run/containerd/containerd.sock';
const minor = (number: number) => flags({ major: 1, minor: number, patch: 0 }, ENDPOINT);

test('reads what `kubelet --version` prints', () => {
  assert.deepEqual(parseVersion('Kubernetes v1.20.2\n'), { major: 1, minor: 20, patch: 2 });
  assert.deepEqual(parseVersion('Kubernetes v1.36.2+distribution.1'), { major: 1, minor: 36, patch: 2 });
  assert.equal(formatVersion(parseVersion('v1.30.14-rc.0')), '1.30.14');
  assert.throws(() => parseVersion('command not found'), /not a Kubernetes version/);
});

test('1.20 names the remote runtime by flags and closes the insecure ports', () => {
  assert.deepEqual(minor(20), {
    kubelet: ['--container-runtime=remote', `--container-runtime-endpoint=${ENDPOINT}`],
    kubeletConfiguration: {},
    controllerManager: ['--port=0'],
    scheduler: ['--port=0'],
  });
});

test('the insecure ports went in 1.24', () => {
  assert.deepEqual(minor(23).scheduler, ['--port=0']);
  assert.deepEqual(minor(24).scheduler, []);
  assert.deepEqual(minor(24).controllerManager, []);
});

test('the runtime endpoint moved into the configuration in 1.27', () => {
  assert.ok(minor(26).kubelet.includes(`--container-runtime-endpoint=${ENDPOINT}`));
  assert.equal(minor(26).kubeletConfiguration['containerRuntimeEndpoint'], undefined);
  assert.deepEqual(minor(27).kubelet, []);
  assert.equal(minor(27).kubeletConfiguration['containerRuntimeEndpoint'], ENDPOINT);
});

test('no configuration field is used before the version that has it', () => {
  assert.equal('localStorageCapacityIsolation' in minor(24).kubeletConfiguration, false);
  assert.equal('failCgroupV1' in minor(30).kubeletConfiguration, false);
  assert.deepEqual(minor(36).kubeletConfiguration, {
    containerRuntimeEndpoint: ENDPOINT,
    localStorageCapacityIsolation: false,
    failCgroupV1: false,
  });
});

test('versions that are too old are refused, newer than known ones are tried', () => {
  assert.throws(() => minor(19), /1\.19\.0 is not supported by the lab: 1\.20 or newer/);
  assert.throws(() => flags({ major: 2, minor: 30, patch: 0 }, ENDPOINT), /not supported/);
  assert.deepEqual(minor(37), minor(36));
});
