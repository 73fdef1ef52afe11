import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../../src/json.ts';
import { type PullSpec, pullerPod, pullKey } from '../../src/preloads/pods/puller-pod.ts';
import { parsePullerPod } from '../../src/preloads/pods/puller-pod-status.ts';

const spec: PullSpec = {
  namespace: 'shop',
  image: 'example.com/web:2',
  imagePullPolicy: 'IfNotPresent',
  imagePullSecrets: ['registry'],
  serviceAccountName: 'web',
  tolerations: [{ key: 'dedicated', operator: 'Exists' }],
};
const options = {
  spec,
  preload: { name: 'web-0123456789ab', uid: 'a-uid' },
  node: 'node-a',
  attempt: 1,
  firstAttemptAt: Date.parse('2026-01-02T03:04:05.678Z'),
  random: 'k3j9x0',
};
const container = (pod: JsonObject) => asArray(at(pod, 'spec', 'containers'))[0];
const nameOf = (pod: JsonObject) => asString(at(pod, 'metadata', 'name')) ?? '';

const anyOptions = fc.record({
  spec: fc.record({
    namespace: fc.constantFrom('shop', 'bank'),
    image: fc.constantFrom('web:1', 'example.com/a/b@sha256:0123'),
    imagePullPolicy: fc.constantFrom('Always' as const, 'IfNotPresent' as const),
    imagePullSecrets: fc.array(fc.constantFrom('x', 'y')),
    serviceAccountName: fc.constantFrom('', 'web'),
    tolerations: fc.constant([]),
  }),
  preload: fc.record({ name: fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?$/), uid: fc.uuid() }),
  node: fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?$/),
  attempt: fc.integer({ min: 1, max: 1000 }),
  firstAttemptAt: fc.constant(0),
  random: fc.stringMatching(/^[a-z0-9]{8}$/),
});

test('its name is a host name of at most 63 characters', () => {
  fc.assert(
    fc.property(anyOptions, (given) => {
      assert.match(nameOf(pullerPod(given)), /^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/);
    }),
  );
});

test('its name begins with that of its ImagePreload, as much of it as fits', () => {
  const named = (name: string) => nameOf(pullerPod({ ...options, preload: { ...options.preload, name } }));
  assert.match(named('web-0123456789ab'), /^web-0123456789ab-[0-9a-f]{12}$/);
  assert.match(named('x'.repeat(63)), /^x{50}-[0-9a-f]{12}$/);
  assert.match(named(`${'x'.repeat(49)}.y`), /^x{49}-[0-9a-f]{12}$/);
});

test('the same attempt has the same name, whatever the random part and the time', () => {
  fc.assert(
    fc.property(anyOptions, fc.string(), fc.nat(), (given, random, firstAttemptAt) => {
      assert.equal(nameOf(pullerPod({ ...given, random, firstAttemptAt })), nameOf(pullerPod(given)));
    }),
  );
});

test('another attempt, node, preload or pull has another name', () => {
  const names = [
    options,
    { ...options, attempt: 2 },
    { ...options, node: 'node-b' },
    { ...options, preload: { ...options.preload, uid: 'b-uid' } },
    { ...options, spec: { ...spec, image: 'example.com/web:3' } },
  ].map((given) => nameOf(pullerPod(given)));
  assert.equal(new Set(names).size, names.length);
});

test('pulls share a key if image, policy, secrets, account, runtime class and namespace are the same', () => {
  const same: PullSpec[] = [
    { ...spec, tolerations: [] },
    { ...spec, imagePullSecrets: ['registry', 'registry'] },
  ];
  for (const other of same) assert.equal(pullKey(other), pullKey(spec));
  const others: PullSpec[] = [
    { ...spec, namespace: 'bank' },
    { ...spec, image: 'example.com/web:3' },
    { ...spec, imagePullPolicy: 'Always' },
    { ...spec, imagePullSecrets: [] },
    { ...spec, imagePullSecrets: ['registry', 'mirror'] },
    { ...spec, serviceAccountName: 'db' },
    { ...spec, runtimeClassName: 'gvisor' },
  ];
  assert.equal(new Set([spec, ...others].map(pullKey)).size, others.length + 1);
});

test('the order of the secrets does not count, and no account is the default one', () => {
  const two = { ...spec, imagePullSecrets: ['a', 'b'] };
  assert.equal(pullKey(two), pullKey({ ...two, imagePullSecrets: ['b', 'a'] }));
  assert.equal(
    pullKey({ ...spec, serviceAccountName: '' }),
    pullKey({ ...spec, serviceAccountName: 'default' }),
  );
});

test('it goes to its node, once, with no token, no links and no grace', () => {
  const pod = pullerPod(options);
  assert.equal(at(pod, 'spec', 'nodeName'), 'node-a');
  assert.equal(at(pod, 'spec', 'restartPolicy'), 'Never');
  assert.equal(at(pod, 'spec', 'automountServiceAccountToken'), false);
  assert.equal(at(pod, 'spec', 'enableServiceLinks'), false);
  assert.equal(at(pod, 'spec', 'terminationGracePeriodSeconds'), 0);
  assert.equal(at(pod, 'spec', 'priorityClassName'), 'pullgate-preload');
});

test('its only command is a path that no image has', () => {
  const pod = pullerPod(options);
  assert.equal(asArray(at(pod, 'spec', 'containers')).length, 1);
  assert.deepEqual(at(container(pod), 'command'), ['/pullgate-preload-only-k3j9x0']);
  assert.equal(at(container(pod), 'args'), undefined);
});

test('it pulls as the workload would: secrets, account, policy, runtime class, tolerations', () => {
  const pod = pullerPod({
    ...options,
    spec: { ...spec, imagePullPolicy: 'Always', runtimeClassName: 'gvisor' },
  });
  assert.equal(at(container(pod), 'image'), 'example.com/web:2');
  assert.equal(at(container(pod), 'imagePullPolicy'), 'Always');
  assert.deepEqual(at(pod, 'spec', 'imagePullSecrets'), [{ name: 'registry' }]);
  assert.equal(at(pod, 'spec', 'serviceAccountName'), 'web');
  assert.equal(at(pod, 'spec', 'runtimeClassName'), 'gvisor');
  assert.deepEqual(at(pod, 'spec', 'tolerations'), spec.tolerations);
});

test('it passes the restricted Pod Security Standard', () => {
  fc.assert(
    fc.property(anyOptions, (given) => {
      const pod = pullerPod(given);
      assert.deepEqual(at(pod, 'spec', 'securityContext'), {
        runAsNonRoot: true,
        runAsUser: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      assert.deepEqual(at(container(pod), 'securityContext'), {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      // Whatever else the standard has a rule about is not there: namespaces and volumes of the host, its ports, probes and
      // hooks that name one, further containers, AppArmor and SELinux.
      const absent = ['hostNetwork', 'hostPID', 'hostIPC', 'volumes', 'initContainers'];
      for (const field of absent) assert.equal(at(pod, 'spec', field), undefined, field);
      assert.equal(asArray(at(pod, 'spec', 'containers')).length, 1);
      const said = Object.keys(asObject(container(pod))).sort((a, b) => a.localeCompare(b));
      assert.deepEqual(said, ['command', 'image', 'imagePullPolicy', 'name', 'resources', 'securityContext']);
      const annotations = Object.keys(asStringMap(at(pod, 'metadata', 'annotations')));
      assert.ok(!annotations.some((name) => /apparmor|seccomp/.test(name)), annotations.join());
    }),
  );
});

test('it has requests and limits, reserves next to nothing and has the processor to set up its containers', () => {
  const { requests, limits } = at(container(pullerPod(options)), 'resources') as Record<string, unknown>;
  assert.deepEqual(requests, { cpu: '10m', memory: '16Mi' });
  assert.deepEqual(limits, { cpu: '100m', memory: '64Mi' });
});

test('it carries own labels only, so that no Service and no disruption budget selects it', () => {
  const labels = asStringMap(at(pullerPod(options), 'metadata', 'labels'));
  assert.deepEqual(
    Object.keys(labels).sort((a, b) => a.localeCompare(b)),
    ['pullgate.io/preload', 'pullgate.io/pull', 'pullgate.io/puller', 'sidecar.istio.io/inject'],
  );
  for (const value of Object.values(labels)) assert.match(value, /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/);
});

test('no sidecar is injected, and no autoscaler is kept from its node', () => {
  const pod = pullerPod(options);
  assert.equal(at(pod, 'metadata', 'labels', 'sidecar.istio.io/inject'), 'false');
  const annotations = asStringMap(at(pod, 'metadata', 'annotations'));
  assert.equal(annotations['sidecar.istio.io/inject'], 'false');
  assert.equal(annotations['linkerd.io/inject'], 'disabled');
  assert.equal(annotations['cluster-autoscaler.kubernetes.io/safe-to-evict'], 'true');
});

test('it is controlled by its ImagePreload and goes with it', () => {
  assert.deepEqual(at(pullerPod(options), 'metadata', 'ownerReferences'), [
    {
      apiVersion: 'pullgate.io/v1alpha1',
      kind: 'ImagePreload',
      name: 'web-0123456789ab',
      uid: 'a-uid',
      controller: true,
      blockOwnerDeletion: false,
    },
  ]);
});

test('what it was made of can be read from it again', () => {
  const pod = parsePullerPod(pullerPod({ ...options, attempt: 3 }));
  assert.equal(pod.namespace, 'shop');
  assert.equal(pod.node, 'node-a');
  assert.equal(pod.preload, 'web-0123456789ab');
  assert.equal(pod.preloadUid, 'a-uid');
  assert.equal(pod.pull, pullKey(spec));
  assert.equal(pod.attempt, 3);
  assert.equal(pod.firstAttemptAt, options.firstAttemptAt);
});

test('an attempt that no preload can come to is the first one', () => {
  const metadata = asObject(pullerPod(options)['metadata']);
  const attemptOf = (attempt: string) =>
    parsePullerPod({ metadata: { ...metadata, annotations: { 'pullgate.io/attempt': attempt } } }).attempt;
  for (const attempt of ['0', '-1', '1.5', '1e300', '1000001', 'Infinity', '', 'x']) {
    assert.equal(attemptOf(attempt), 1, attempt);
  }
  assert.equal(attemptOf('1000000'), 1_000_000);
});

test('who controls a pod is said by its controller reference alone', () => {
  const pod = pullerPod(options);
  const metadata = asObject(pod['metadata']);
  const [owner] = asArray(metadata['ownerReferences']).map(asObject);
  const ownerOf = (fields: JsonObject) => {
    const ownerReferences = [
      { ...owner, name: 'other', controller: false },
      { ...owner, ...fields },
    ];
    const { preload, preloadUid } = parsePullerPod({ ...pod, metadata: { ...metadata, ownerReferences } });
    return [preload, preloadUid];
  };
  assert.deepEqual(ownerOf({}), ['web-0123456789ab', 'a-uid']);
  for (const fields of [
    { controller: false },
    { controller: 'true' },
    { kind: 'Pod' },
    { apiVersion: 'v1' },
  ]) {
    assert.deepEqual(ownerOf(fields), ['', '']);
  }
});
