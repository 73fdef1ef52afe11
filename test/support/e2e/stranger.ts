import { API_GROUP_PATH } from '../../../src/api/names.ts';
import type { CallOptions } from '../../../src/cluster/api-client.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import { METADATA_ONLY } from '../../../src/cluster/list-pages.ts';
import { asArray, asObject, at, type JsonObject } from '../../../src/json.ts';
import { inParallel } from '../in-parallel.ts';
import { connect } from './gated-lab.ts';
import type { Namespace, Scope } from './namespace.ts';

/** A large object takes its time on a busy machine. */
const PATIENT: CallOptions = { deadlineMs: 60_000 };

/** Names alone: the objects of a list can be larger than the client takes. */
const NAMES: CallOptions = { ...PATIENT, accept: METADATA_ONLY };

/** A user with the built-in role `edit` in one namespace, and no other right. */
export interface Stranger {
  readonly namespace: Namespace;
  /** What the API server has let the stranger do, and how often it has refused. */
  readonly tally: { done: number; refused: number };
  create(kind: Kind, object: JsonObject): Promise<void>;
  patch(kind: Kind, name: string, body: JsonObject): Promise<void>;
  /** Many at a time. */
  createAll(kind: Kind, objects: readonly JsonObject[]): Promise<void>;
  /** Whatever the stranger has made. */
  removeAll(): Promise<void>;
}

export type Kind = 'deployments' | 'pods' | 'imagepreloads' | 'events' | 'configmaps';

const GROUPS: Readonly<Record<Kind, string>> = {
  deployments: '/apis/apps/v1',
  pods: '/api/v1',
  imagepreloads: API_GROUP_PATH,
  events: '/api/v1',
  configmaps: '/api/v1',
};

/** Acts by impersonation, as `kubectl --as` does: what it may is what `edit` grants. */
export async function createStranger(scope: Scope, namespace: Namespace): Promise<Stranger> {
  const { lab, api, name } = namespace;
  const user = `stranger-of-${name}`;
  await api.create(`/apis/rbac.authorization.k8s.io/v1/namespaces/${name}/rolebindings`, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'stranger' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  });
  const own = await connect(lab, user);
  scope.after(() => own.close());
  const tally = { done: 0, refused: 0 };
  const collection = (kind: Kind) => `${GROUPS[kind]}/namespaces/${name}/${kind}`;

  async function attempt(call: Promise<unknown>): Promise<void> {
    try {
      await call;
      tally.done += 1;
    } catch (error) {
      // A right that is missing, a policy, a schema, a limit of the API server's.
      if (!(error instanceof ApiError) || error.status >= 500) throw error;
      tally.refused += 1;
    }
  }

  const create = (kind: Kind, object: JsonObject) =>
    attempt(own.create(collection(kind), object, {}, { ...PATIENT, ignoreAnswer: true }));
  return {
    namespace,
    tally,
    create,
    patch: (kind, of, body) =>
      attempt(own.mergePatch(`${collection(kind)}/${of}`, body, {}, { ...PATIENT, ignoreAnswer: true })),
    createAll: (kind, objects) => inParallel(objects, (object) => create(kind, object), 16),
    async removeAll() {
      for (const kind of ['deployments', 'imagepreloads', 'pods', 'configmaps'] as const) {
        const list = asArray(at(await api.get(collection(kind), {}, NAMES), 'items'));
        const made = list.map((object) => String(asObject(at(object, 'metadata'))['name']));
        const names = made.filter((one) => one !== 'kube-root-ca.crt');
        await inParallel(names, (one) =>
          api
            .delete(`${collection(kind)}/${one}`, { gracePeriodSeconds: 0 }, PATIENT)
            .catch((error: unknown) => {
              if (!(error instanceof ApiError)) throw error;
            }),
        );
      }
    },
  };
}
