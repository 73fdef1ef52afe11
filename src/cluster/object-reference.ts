import { API_VERSION, IMAGE_PRELOAD_KIND } from '../api/names.ts';
import type { ObjectRef } from './events.ts';

/** Returns the reference by which an Event names a Deployment. */
export function deploymentReference(deployment: {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}): ObjectRef {
  const { namespace, name, uid } = deployment;
  return { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name, uid };
}

/** Returns the reference by which an Event names an ImagePreload. `uid` is absent if only the name is known. */
export function preloadReference(
  { namespace }: { readonly namespace: string },
  name: string,
  uid?: string,
): ObjectRef {
  const reference = { apiVersion: API_VERSION, kind: IMAGE_PRELOAD_KIND, namespace, name };
  return uid === undefined ? reference : { ...reference, uid };
}
