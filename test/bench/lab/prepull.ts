import type { JsonObject } from '../../../src/json.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';

/** Does nothing and ends; the image has to have it. */
const END_AT_ONCE = ['/bin/true'];

/** The image as an init container on every node, then something small that stays, so that the DaemonSet becomes ready. */
export function prepullDaemonSet(name: string, image: string): JsonObject {
  const labels = { prepull: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name },
    spec: {
      selector: { matchLabels: labels },
      // All nodes at a time from the start: it is new.
      template: {
        metadata: { labels },
        spec: {
          terminationGracePeriodSeconds: 1,
          initContainers: [{ name: 'prepull', image, command: END_AT_ONCE }],
          containers: [{ name: 'stay', image: PAUSE_IMAGE }],
        },
      },
    },
  };
}

/** One for each node, led to it by the scheduler. */
export function prepullJobs(name: string, image: string, nodes: readonly string[]): JsonObject {
  const items = nodes.map((node) => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: `${name}-${node}`, labels: { prepull: name } },
    spec: {
      template: {
        metadata: { labels: { prepull: name } },
        spec: {
          restartPolicy: 'Never',
          nodeSelector: { 'kubernetes.io/hostname': node },
          containers: [{ name: 'prepull', image, command: END_AT_ONCE }],
        },
      },
    },
  }));
  return { apiVersion: 'v1', kind: 'List', items };
}
