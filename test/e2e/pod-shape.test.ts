import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asObject } from '../../src/json.ts';
import { pullerPod } from '../../src/preload/puller-pod.ts';
import { attach, type Lab } from '../lab/lab.ts';
import { refusals } from '../unit/pod-shape-policy.ts';
import { connect } from './gated-lab.ts';
import { createNamespace } from './namespace.ts';

const PRIORITY_CLASS = fileURLToPath(new URL('../../deploy/priority-class.yaml', import.meta.url));
let lab: Lab;
let api: ApiClient;

before(async () => {
  lab = await attach();
  api = await connect(lab);
});
after(() => api.close());

test('the policy for the shape of pods lets the puller pod through as an API server completes it', async (t) => {
  const { code, stderr } = await lab.kubectl(['apply', '-f', PRIORITY_CLASS]);
  assert.equal(code, 0, stderr);
  const { name: namespace } = await createNamespace(t, lab, api);
  const pod = pullerPod({
    spec: {
      namespace,
      image: `${lab.registry}/app:1`,
      imagePullPolicy: 'IfNotPresent',
      imagePullSecrets: ['pull'],
      serviceAccountName: '',
      tolerations: [],
    },
    preload: { name: 'web', uid: 'uid-1' },
    node: lab.nodes()[0] ?? '',
    attempt: 1,
    firstAttemptAt: 0,
    random: (0.123456789).toString(36).slice(2),
  });
  const completed = asObject(
    await api.create(`/api/v1/namespaces/${namespace}/pods`, pod, { dryRun: 'All' }),
  );
  assert.notDeepEqual(completed['spec'], pod['spec'], 'nothing was filled in');
  assert.deepEqual(refusals(completed), []);
});
