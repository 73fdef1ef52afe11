import assert from 'node:assert/strict';
import { asArray, asString, asStringMap, at } from '../../../src/json.ts';
import type { Namespace } from './namespace.ts';

/** What the kubelets told of these pods. */
async function eventsOf(
  { api, name }: Namespace,
  pods: readonly string[],
): Promise<{ reason: string; message: string }[]> {
  const list = await api.get(`/api/v1/namespaces/${name}/events`);
  return asArray(at(list, 'items'))
    .filter((event) => pods.includes(asString(at(event, 'involvedObject', 'name')) ?? ''))
    .map((event) => ({
      reason: asString(at(event, 'reason')) ?? '',
      message: asString(at(event, 'message')) ?? '',
    }));
}

/** These pods found these images on their nodes, and pulled none of them. */
export async function assertFoundAll(
  namespace: Namespace,
  pods: readonly string[],
  images: readonly string[],
): Promise<void> {
  const events = await eventsOf(namespace, pods);
  for (const image of images) {
    const reasons = events.filter(({ message }) => message.includes(image)).map(({ reason }) => reason);
    assert.ok(reasons.includes('Pulled') && !reasons.includes('Pulling'), JSON.stringify(events));
  }
}

/** The pods of that Deployment that are not being deleted. */
export async function podsOf({ api, name }: Namespace, deployment: string): Promise<unknown[]> {
  const list = await api.get(`/api/v1/namespaces/${name}/pods`);
  return asArray(at(list, 'items')).filter(
    (pod) =>
      asStringMap(at(pod, 'metadata', 'labels'))['app'] === deployment &&
      at(pod, 'metadata', 'deletionTimestamp') === undefined,
  );
}

export function podName(pod: unknown): string {
  return asString(at(pod, 'metadata', 'name')) ?? '';
}
