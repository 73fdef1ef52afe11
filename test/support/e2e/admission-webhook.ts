import { once } from 'node:events';
import { createServer } from 'node:https';
import { json } from 'node:stream/consumers';
import { isNotFound } from '../../../src/cluster/api-error.ts';
import { asObject, at, type JsonObject } from '../../../src/json.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import { testTls } from '../tls.ts';
import type { Namespace, Scope } from './namespace.ts';
import { until } from './until.ts';

const GROUP = '/apis/admissionregistration.k8s.io/v1';

/** What the webhook says about a pod that is to be created. */
type Review =
  | {
      readonly kind: 'Validating';
      readonly refusal: (pod: JsonObject) => string | undefined;
      /** Default 403. */
      readonly code?: number;
    }
  | {
      readonly kind: 'Mutating';
      readonly patch: (pod: JsonObject) => readonly JsonObject[] | Promise<readonly JsonObject[]>;
    };

/**
 * A webhook of somebody else's, for the pods of this namespace alone. It is served from here: the API server calls
 * 127.0.0.1 of the network namespace that the tests run in. In effect when this returns; what it returns takes it away.
 */
export async function podWebhook(
  scope: Scope,
  namespace: Namespace,
  review: Review,
): Promise<() => Promise<void>> {
  const { api, name } = namespace;
  const tls = await testTls();
  let asked = 0;
  const server = createServer(tls, async (request, response) => {
    asked += 1;
    const body = await json(request);
    const answer = {
      uid: at(body, 'request', 'uid'),
      ...(await answerTo(review, at(body, 'request', 'object'))),
    };
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;

  const collection = `${GROUP}/${review.kind.toLowerCase()}webhookconfigurations`;
  async function remove(): Promise<void> {
    await api.delete(`${collection}/${name}`).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }
  scope.after(async () => {
    await remove();
    server.close();
    server.closeAllConnections();
  });
  await api.create(collection, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: `${review.kind}WebhookConfiguration`,
    metadata: { name },
    webhooks: [
      {
        name: 'pods.policy.test',
        clientConfig: {
          url: `https://127.0.0.1:${port}/`,
          caBundle: Buffer.from(tls.ca).toString('base64'),
        },
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
        rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }],
        failurePolicy: 'Fail',
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
      },
    ],
  });
  await until(
    'the webhook is asked',
    20,
    async () => {
      await api
        .create(`/api/v1/namespaces/${name}/pods`, probe(name), { dryRun: 'All' })
        .catch(() => undefined);
      return asked;
    },
    (times) => times > 0,
  );
  return remove;
}

async function answerTo(review: Review, object: unknown): Promise<JsonObject> {
  const pod = asObject(object);
  if (review.kind === 'Validating') {
    const message = review.refusal(pod);
    return message === undefined
      ? { allowed: true }
      : { allowed: false, status: { code: review.code ?? 403, message } };
  }
  const patch = Buffer.from(JSON.stringify(await review.patch(pod))).toString('base64');
  return { allowed: true, patchType: 'JSONPatch', patch };
}

function probe(namespace: string): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'probe', namespace },
    spec: { containers: [{ name: 'probe', image: PAUSE_IMAGE }] },
  };
}
