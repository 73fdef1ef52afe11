import { parentPort, workerData } from 'node:worker_threads';
import { HELD_LABEL, PULLER_LABEL } from '../../../src/api/names.ts';
import { systemClock } from '../../../src/clock.ts';
import { createApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { asArray, asString, asStringMap, at } from '../../../src/json.ts';
import { pullOutcome } from '../../../src/preloads/pods/pull-result.ts';
import { parsePullerPod } from '../../../src/preloads/pods/puller-pod-status.ts';
import { follow } from '../../support/follow.ts';

/**
 * - `created`: a puller pod is there.
 * - `pulled`, `failed`: it says so for the first time.
 * - `gone`: it is no longer there.
 * - `held`, `released`: the Deployment that asks for the image.
 */
export interface Fact {
  readonly kind: 'created' | 'pulled' | 'failed' | 'gone' | 'held' | 'released';
  readonly image: string;
  /** In ms, of one clock. */
  readonly at: number;
}

function tell(kind: Fact['kind'], image: string): void {
  const fact: Fact = { kind, image, at: performance.now() };
  parentPort?.postMessage(fact);
}

const cluster = await loadKubeconfig(String(workerData), undefined);
const client = createApiClient(cluster, { clock: systemClock, random: Math.random });

interface Pull {
  readonly image: string;
  readonly state: string;
}

function pullOf(raw: unknown): Pull {
  const { state } = pullOutcome(parsePullerPod(raw));
  return { image: imageOf(at(raw, 'spec')), state };
}

interface Rollout {
  readonly image: string;
  readonly held: boolean;
}

function rolloutOf(raw: unknown): Rollout {
  return {
    image: imageOf(at(raw, 'spec', 'template', 'spec')),
    held: asStringMap(at(raw, 'metadata', 'labels'))[HELD_LABEL] !== undefined,
  };
}

function imageOf(spec: unknown): string {
  return asString(at(asArray(at(spec, 'containers'))[0], 'image')) ?? '';
}

const query = { labelSelector: PULLER_LABEL };
const pods = follow({ client, path: '/api/v1/pods', query, parse: pullOf }, (_key, now, before) => {
  if (now === undefined) {
    if (before !== undefined) tell('gone', before.image);
    return;
  }
  if (before === undefined) tell('created', now.image);
  if (now.state === before?.state) return;
  if (now.state === 'succeeded') tell('pulled', now.image);
  if (now.state === 'failed') tell('failed', now.image);
});
const path = '/apis/apps/v1/deployments';
const deployments = follow({ client, path, parse: rolloutOf }, (_key, now, before) => {
  if (now === undefined || now.held === (before?.held ?? false)) return;
  tell(now.held ? 'held' : 'released', now.image);
});
await Promise.all([pods.synced, deployments.synced]);
parentPort?.postMessage('ready');
