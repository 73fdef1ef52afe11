import { HELD_LABEL } from '../../src/api/names.ts';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asNumber, asString, at } from '../../src/json.ts';
import { follow } from '../support/follow.ts';
import { createTimeline, type DeploymentView, type PodView, type Timeline } from './timeline.ts';

export interface Observer {
  readonly timeline: Timeline;
  /** Seconds, on the timeline's clock. */
  now(): number;
  stop(): Promise<void>;
}

/** Follows every pod and Deployment that carries the label `demo`. Resolves once all that is there has been seen. */
export async function observe(client: ApiClient, label: string): Promise<Observer> {
  const timeline = createTimeline();
  const now = () => performance.now() / 1000;
  const common = { client, query: { labelSelector: label } };
  const pods = follow<PodView>({ ...common, path: '/api/v1/pods', parse: podView }, (key, pod) =>
    timeline.podChanged(now(), key, pod),
  );
  const deployments = follow<DeploymentView>(
    { ...common, path: '/apis/apps/v1/deployments', parse: deploymentView },
    (_key, deployment) => {
      if (deployment !== undefined) timeline.deploymentChanged(now(), deployment);
    },
  );
  const reflectors = [pods, deployments];
  await Promise.all(reflectors.map(({ synced }) => synced));
  return {
    timeline,
    now,
    stop: async () => {
      await Promise.all(reflectors.map((reflector) => reflector.stop()));
    },
  };
}

function podView(raw: unknown): PodView {
  const status = at(raw, 'status');
  const condition = asArray(at(status, 'conditions')).find((one) => at(one, 'type') === 'Ready');
  const deleting = at(raw, 'metadata', 'deletionTimestamp') !== undefined;
  return {
    namespace: text(raw, 'metadata', 'namespace'),
    app: text(raw, 'metadata', 'labels', 'app'),
    name: text(raw, 'metadata', 'name'),
    image: text(asArray(at(raw, 'spec', 'containers'))[0], 'image'),
    running: at(asArray(at(status, 'containerStatuses'))[0], 'state', 'running') !== undefined,
    ready: at(condition, 'status') === 'True' && !deleting,
  };
}

function deploymentView(raw: unknown): DeploymentView {
  const count = (field: string) => asNumber(at(raw, 'status', field)) ?? 0;
  const wanted = asNumber(at(raw, 'spec', 'replicas')) ?? 1;
  const observed = count('observedGeneration') >= (asNumber(at(raw, 'metadata', 'generation')) ?? 0);
  const counts = ['replicas', 'updatedReplicas', 'availableReplicas'].map(count);
  return {
    namespace: text(raw, 'metadata', 'namespace'),
    name: text(raw, 'metadata', 'name'),
    image: text(asArray(at(raw, 'spec', 'template', 'spec', 'containers'))[0], 'image'),
    held: at(raw, 'metadata', 'labels', HELD_LABEL) !== undefined,
    complete: observed && counts.every((number) => number === wanted),
  };
}

function text(raw: unknown, ...path: string[]): string {
  return asString(at(raw, ...path)) ?? '';
}
