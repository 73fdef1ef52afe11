import {
  API_VERSION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  IMAGE_PRELOAD_KIND,
  PULLER_LABEL,
} from '../../../src/api/names.ts';
import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import type { JsonObject } from '../../../src/json.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { simulateNodes } from '../../cluster/simulated/simulated-nodes.ts';
import { createNamespace, type Scope } from '../../support/e2e/namespace.ts';
import { createStranger, type Stranger } from '../../support/e2e/stranger.ts';
import { type Random, randomOf } from '../../support/random.ts';
import { BROKEN } from './images.ts';

/** Other numbers than those of the sequences and disturbances. */
const INDEX = -1_000_000;
const NODES = 2;
const PAUSE_MS = 400;
/** More are served at a time in no namespace, and the namespace has to be gone soon after the run. */
const PRELOADS = 400;
const NAMES = 40;
const IMAGES = 100;

/** A user with `edit` in one namespace, who makes trouble for as long as sequences run in other namespaces. */
export interface Hostile {
  /** What the API server has let the user do. */
  readonly done: () => number;
  stop(): Promise<void>;
}

export async function runHostile(scope: Scope, lab: Lab, api: ApiClient, seed: number): Promise<Hostile> {
  const namespace = await createNamespace(scope, lab, api);
  const nodes = await simulateNodes(scope, api, NODES);
  for (let n = 0; n < IMAGES; n += 1)
    nodes.registry.answer(imageOf(n), n % 2 === 0 ? BROKEN : { seconds: 2 });
  const stranger = await createStranger(scope, namespace);
  const random = randomOf(seed, INDEX);
  const stopping = new AbortController();
  let preloads = 0;

  async function act(): Promise<void> {
    const attack = random.pick(ATTACKS);
    if (attack === 'preloads') {
      if (preloads > PRELOADS) return;
      const count = random.pick([1, 1, 30]);
      const objects = Array.from({ length: count }, () => preloadOf(random, preloads++, nodes.pod));
      return await stranger.createAll('imagepreloads', objects);
    }
    await apply(attack, stranger, random);
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      // Whatever comes of it: the API server may be away.
      await act().catch(() => undefined);
      await wait(systemClock, PAUSE_MS, stopping.signal).catch(() => undefined);
    }
  })();
  return {
    done: () => stranger.tally.done,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

const ATTACKS = ['preloads', 'preloads', 'pod', 'status', 'hold', 'hold'] as const;

async function apply(
  attack: Exclude<(typeof ATTACKS)[number], 'preloads'>,
  stranger: Stranger,
  random: Random,
): Promise<void> {
  const name = `p-${random.below(NAMES)}`;
  switch (attack) {
    case 'pod':
      return await stranger.create('pods', forgedPod(name, random));
    case 'status':
      return await stranger.patch('imagepreloads', `${name}/status`, { status: { phase: 'Ready' } });
    case 'hold':
      return await stranger.create('deployments', forgedHold(`held-${random.below(NAMES)}`, random));
  }
}

function imageOf(n: number): string {
  return `registry.test/hostile:${n}`;
}

function preloadOf(random: Random, n: number, where: JsonObject): JsonObject {
  const count = random.chance(0.1) ? IMAGES : 1 + random.below(3);
  const begin = random.below(IMAGES);
  return {
    apiVersion: API_VERSION,
    kind: IMAGE_PRELOAD_KIND,
    metadata: { name: `p-${n}` },
    spec: {
      images: Array.from({ length: count }, (_, at) => ({ image: imageOf((begin + at) % IMAGES) })),
      scheduling: where,
      deadlineSeconds: 5 + random.below(30),
      ttlSecondsAfterFinished: random.below(10),
      ...(random.chance(0.1) && { serviceAccountName: '..' }),
    },
  };
}

function forgedPod(preload: string, random: Random): JsonObject {
  const name = `${preload}-${random.below(1000)}`;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { [PULLER_LABEL]: 'true' } },
    spec: { containers: [{ name: 'pull', image: imageOf(0) }] },
  };
}

function forgedHold(name: string, random: Random): JsonObject {
  const labels = { app: name };
  const hold = random.pick([
    '{',
    '{"v":1}',
    'x'.repeat(40_000),
    JSON.stringify({ v: 1, uid: 'another', preload: 'p-1' }),
  ]);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels: { ...labels, [HELD_LABEL]: 'true' }, annotations: { [HOLD_ANNOTATION]: hold } },
    spec: {
      replicas: 0,
      paused: true,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'app', image: imageOf(random.below(IMAGES)) }] },
      },
    },
  };
}
