import { API_GROUP_PATH } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import { until } from './until.ts';

export type Kind = 'Deployment' | 'ReplicaSet' | 'Pod' | 'ImagePreload';

/** One change of one object, as the API server told it. */
export interface Moment {
  /** When it was heard of, in milliseconds of this process's monotonic clock. */
  readonly at: number;
  readonly type: string;
  readonly kind: Kind;
  readonly name: string;
  readonly object: JsonObject;
}

/** Everything that happens in one namespace, in the order in which it was heard of. */
export interface Timeline {
  readonly moments: readonly Moment[];
  of(kind: Kind, name?: string): Moment[];
  /** The first moment, past ones too, that is as wanted. */
  first(what: string, seconds: number, isIt: (moment: Moment) => boolean): Promise<Moment>;
  stop(): void;
}

const COLLECTIONS: readonly (readonly [Kind, string, string])[] = [
  ['Deployment', '/apis/apps/v1', 'deployments'],
  ['ReplicaSet', '/apis/apps/v1', 'replicasets'],
  ['Pod', '/api/v1', 'pods'],
  ['ImagePreload', API_GROUP_PATH, 'imagepreloads'],
];

/** Begins with what is there. */
export function record(api: ApiClient, namespace: string): Timeline {
  const moments: Moment[] = [];
  const stopping = new AbortController();
  let broken: unknown;

  async function follow(kind: Kind, path: string): Promise<void> {
    try {
      for await (const event of api.watch(path, {}, stopping.signal)) {
        const object = asObject(at(event, 'object'));
        const name = asString(at(object, 'metadata', 'name')) ?? '';
        moments.push({ at: performance.now(), type: asString(at(event, 'type')) ?? '', kind, name, object });
      }
    } catch (error) {
      broken ??= error;
    }
  }

  for (const [kind, group, plural] of COLLECTIONS) {
    void follow(kind, `${group}/namespaces/${namespace}/${plural}`);
  }
  return {
    moments,
    of: (kind, name) =>
      moments.filter((moment) => moment.kind === kind && (name === undefined || moment.name === name)),
    async first(what, seconds, isIt) {
      const found = await until(
        what,
        seconds,
        () => ({ moment: moments.find(isIt), broken, last: moments.slice(-5).map(summary) }),
        ({ moment }) => moment !== undefined,
      );
      if (found.moment === undefined) throw new Error(what);
      return found.moment;
    },
    stop: () => stopping.abort(),
  };
}

function summary({ type, kind, name, object }: Moment): string {
  return `${type} ${kind} ${name} ${JSON.stringify(object['status'])?.slice(0, 200)}`;
}

/** The images of the containers of a pod, or of the template of what makes pods. */
export function imagesOf(object: JsonObject): string[] {
  const spec = at(object, 'spec', 'template', 'spec') ?? object['spec'];
  return asArray(at(spec, 'containers')).map((container) => asString(at(container, 'image')) ?? '');
}

/** Each image that a ReplicaSet of this namespace has ever had: more than one as soon as a rollout begins. */
export function imagesOfReplicaSets(timeline: Timeline): string[] {
  return [...new Set(timeline.of('ReplicaSet').flatMap(({ object }) => imagesOf(object)))];
}
