import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pullOutcome } from '../../src/preloads/pods/pull-result.ts';
import { parsePullerPod } from '../../src/preloads/pods/puller-pod-status.ts';

const DIGEST = `example.com/web@sha256:${'0'.repeat(64)}`;
const startError = {
  reason: 'StartError',
  message:
    'exec: "/pullgate-preload-only-x": stat /pullgate-preload-only-x: no such file or directory: unknown',
  exitCode: 128,
  startedAt: '1970-01-01T00:00:00Z',
  finishedAt: '2026-01-01T00:00:30Z',
};

/** A puller pod with this container status, as the API server sends it. */
function pod(
  state: object | undefined,
  { imageID = '', ...status }: { imageID?: string; [key: string]: unknown } = {},
) {
  return parsePullerPod({
    metadata: { name: 'p', namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { nodeName: 'node-a' },
    status: {
      phase: 'Pending',
      ...(state !== undefined && { containerStatuses: [{ name: 'pull', imageID, state }] }),
      ...status,
    },
  });
}
const waiting = (reason: string, message = '') => ({ waiting: { reason, message } });

test('a pod that no kubelet has taken on is starting', () => {
  assert.deepEqual(pullOutcome(pod(undefined)), { state: 'starting' });
});

test('a container that is being created is pulling', () => {
  assert.deepEqual(pullOutcome(pod(waiting('ContainerCreating'))), { state: 'pulling' });
  assert.deepEqual(pullOutcome(pod({})), { state: 'pulling' });
});

test('a container that could not start has its image', () => {
  assert.deepEqual(pullOutcome(pod({ terminated: startError }, { imageID: DIGEST, phase: 'Failed' })), {
    state: 'succeeded',
    imageID: DIGEST,
    finishedAt: Date.parse('2026-01-01T00:00:30Z'),
  });
});

test('a container that could not start has its image even if the runtime does not name it', () => {
  for (const reason of ['StartError', 'ContainerCannotRun']) {
    const outcome = pullOutcome(pod({ terminated: { reason, exitCode: 127 } }, { phase: 'Failed' }));
    assert.deepEqual(outcome, { state: 'succeeded', imageID: '' });
  }
});

for (const reason of [
  'CreateContainerError',
  'CreateContainerConfigError',
  'RunContainerError',
  'PreCreateHookError',
  'PreStartHookError',
  'PostStartHookError',
  'CrashLoopBackOff',
]) {
  test(`a container waiting in ${reason} has its image`, () => {
    assert.deepEqual(pullOutcome(pod(waiting(reason, 'image will run as root'))), {
      state: 'succeeded',
      imageID: '',
    });
  });
}

test('a running container has its image', () => {
  const outcome = pullOutcome(pod({ running: { startedAt: '2026-01-01T00:00:30Z' } }, { phase: 'Running' }));
  assert.equal(outcome.state, 'succeeded');
});

test('an imageID is enough', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.constantFrom('Pending', 'Running', 'Failed', 'Succeeded'),
      (reason, phase) => {
        assert.equal(pullOutcome(pod(waiting(reason), { imageID: DIGEST, phase })).state, 'succeeded');
      },
    ),
  );
});

test("a failed pull has its reason and the registry's words", () => {
  const message =
    'rpc error: code = NotFound desc = failed to pull and unpack image "example.com/web:2": failed to resolve reference "example.com/web:2": example.com/web:2: not found';
  assert.deepEqual(pullOutcome(pod(waiting('ErrImagePull', message))), {
    state: 'failed',
    reason: 'NotFound',
    definitive: true,
    message: 'example.com/web:2: not found',
  });
});

for (const reason of [
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]) {
  test(`a container waiting in ${reason} has failed, and never without words`, () => {
    const outcome = pullOutcome(pod(waiting(reason)));
    assert.ok(outcome.state === 'failed' && outcome.message !== '');
  });
}

test('a reason to wait that nobody knows is a failed pull, in its words', () => {
  const words = 'illegal base64 data at input byte 4';
  assert.deepEqual(pullOutcome(pod(waiting(words, words))), {
    state: 'failed',
    reason: 'PullSecretInvalid',
    definitive: true,
    message: words,
  });
  const unheardOf = pullOutcome(pod(waiting('ErrImageFromTheFuture', 'the dog ate it')));
  assert.ok(unheardOf.state === 'failed' && unheardOf.message === 'the dog ate it');
});

for (const [reason, message, words, as = 'PodRejected'] of [
  [
    'OutOfpods',
    'Pod Node did not have enough resource: pods',
    'OutOfpods: Pod Node did not have enough resource: pods',
  ],
  [
    'NodeAffinity',
    'Pod Predicate NodeAffinity failed',
    'NodeAffinity: Pod Predicate NodeAffinity failed',
    'NodeRefusesPod',
  ],
  [
    'PodOSNotSupported',
    "Failed to admit pod as the OS field doesn't match node OS",
    "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
    'NodeRefusesPod',
  ],
  ['Evicted', 'The node was low on resource: memory.', 'Evicted: The node was low on resource: memory.'],
] as const) {
  test(`a pod rejected with ${reason} has failed with the kubelet's words, and says nothing of the image`, () => {
    const expected = { state: 'failed', reason: as, definitive: false, message: words };
    assert.deepEqual(pullOutcome(pod(undefined, { phase: 'Failed', reason, message })), expected);
    assert.deepEqual(
      pullOutcome(pod(waiting('ContainerCreating'), { phase: 'Failed', reason, message })),
      expected,
    );
  });
}

test('a container that was never found again has not pulled', () => {
  const lost = {
    reason: 'ContainerStatusUnknown',
    message: 'The container could not be located',
    exitCode: 137,
  };
  const outcome = pullOutcome(pod({ terminated: lost }));
  assert.ok(outcome.state === 'failed' && outcome.reason === 'PodRejected');
  assert.equal(outcome.message, 'ContainerStatusUnknown: The container could not be located');
});

test('a failed pull keeps its reason when the pod fails as well', () => {
  const outcome = pullOutcome(
    pod(waiting('ErrImagePull', 'toomanyrequests: slow down'), { phase: 'Failed', reason: 'Evicted' }),
  );
  assert.ok(outcome.state === 'failed' && outcome.reason === 'TooManyRequests');
});

test('an injected sidecar has no say', () => {
  const sidecar = { name: 'istio-proxy', imageID: 'example.com/proxy@sha256:1', state: { running: {} } };
  const pull = { name: 'pull', imageID: '', state: waiting('ContainerCreating') };
  const raw = (containerStatuses: object[]) =>
    parsePullerPod({ status: { phase: 'Running', containerStatuses } });
  assert.equal(pullOutcome(raw([sidecar])).state, 'starting');
  assert.equal(pullOutcome(raw([sidecar, pull])).state, 'pulling');
  assert.equal(
    pullOutcome(raw([sidecar, { ...pull, state: { terminated: startError } }])).state,
    'succeeded',
  );
});

/** A puller pod to which a webhook has added an init container, or a sidecar. */
function injected(
  state: object,
  { sidecar = false, ...fields }: { sidecar?: boolean; [key: string]: unknown } = {},
) {
  return parsePullerPod({
    spec: { initContainers: [{ name: 'wait', ...(sidecar && { restartPolicy: 'Always' }) }] },
    status: {
      phase: 'Pending',
      initContainerStatuses: [{ name: 'wait', imageID: 'x', state, ...fields }],
      containerStatuses: [{ name: 'pull', imageID: '', state: waiting('PodInitializing') }],
    },
  });
}

test('an injected init container that runs or waits is what the pull waits for', () => {
  const running = injected({ running: {} });
  assert.equal(pullOutcome(running).state, 'pulling');
  assert.deepEqual(running.init, { name: 'wait', words: 'is still running', failing: false, ended: false });
  const crashing = injected(waiting('CrashLoopBackOff', 'back-off 10s'), { sidecar: true });
  assert.deepEqual(
    [crashing.init?.words, crashing.init?.failing],
    ['waits (CrashLoopBackOff: back-off 10s)', true],
  );
  assert.match(
    injected(waiting('ImagePullBackOff', 'not found')).init?.words ?? '',
    /ImagePullBackOff: not found/,
  );
  assert.equal(injected(waiting('PodInitializing')).init?.failing, false);
});

test('an injected init container that fails ends the pod, and is named with its words', () => {
  const outcome = pullOutcome(
    injected({ terminated: { reason: 'Error', message: 'no token', exitCode: 3 } }, { phase: 'Failed' }),
  );
  assert.deepEqual(outcome, {
    state: 'failed',
    reason: 'InitContainer',
    definitive: false,
    message: 'init container wait, which a webhook has added, failed with exit code 3 (Error: no token)',
  });
});

test('one that is done, or a sidecar that has started, keeps nobody waiting', () => {
  assert.equal(injected({ terminated: { exitCode: 0 } }).init, undefined);
  assert.equal(injected({ running: {} }, { sidecar: true, started: true }).init, undefined);
  const starting = injected({ running: {} }, { sidecar: true, started: false });
  assert.equal(starting.init?.words, 'has not passed its startup probe');
});

test('a container that never started has no start time', () => {
  const { container } = pod({ terminated: startError });
  assert.equal(container?.terminated?.startedAt, undefined);
  assert.equal(container?.terminated?.finishedAt, Date.parse('2026-01-01T00:00:30Z'));
});

test('states that are null are not there', () => {
  const { container } = pod({ waiting: { reason: 'ContainerCreating' }, running: null, terminated: null });
  assert.deepEqual(container, {
    imageID: '',
    waiting: { reason: 'ContainerCreating', message: '' },
    running: false,
  });
});

test('a pod without usable annotations is on its first attempt since it was created', () => {
  for (const attempt of [undefined, '', '0', '-1', 'two', '1.5']) {
    const parsed = parsePullerPod({
      metadata: {
        creationTimestamp: '2026-01-01T00:00:00Z',
        annotations: { 'pullgate.io/attempt': attempt, 'pullgate.io/first-attempt-at': 'yesterday' },
      },
    });
    assert.equal(parsed.attempt, 1);
    assert.equal(parsed.firstAttemptAt, Date.parse('2026-01-01T00:00:00Z'));
  }
});

test('any JSON reads as a puller pod with an outcome', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (raw, state) => {
      assert.equal(pullOutcome(parsePullerPod(raw)).state, 'starting');
      const containerStatuses = [{ name: 'pull', state }];
      assert.equal(typeof pullOutcome(parsePullerPod({ status: { containerStatuses } })).state, 'string');
    }),
  );
});
