import { randomOf } from '../../../support/random.ts';
import { type Answer, type Call, status } from './api-server.ts';
import { hostileWords } from './malice.ts';
import { STRANGERS } from './operation.ts';
import { podStatus } from './realistic-objects.ts';
import type { Objects, StoredObject } from './stored-objects.ts';

export function isOfStranger(namespace: string): boolean {
  return STRANGERS.some((one) => one === namespace);
}

/** What their webhooks, quotas and storage make of the gate's calls: the same for the same call. */
export function answerToStrangers({ method, namespace, url, body }: Call, seed: number): Answer | undefined {
  if (!isOfStranger(namespace)) return undefined;
  const random = randomOf(seed, hashOf(`${method} ${url} ${JSON.stringify(body)?.slice(0, 200)}`));
  if (random.chance(0.7)) return undefined;
  const answers: (() => Answer)[] = [
    () => status(403, 'Forbidden', hostileWords(random)),
    () => status(422, 'Invalid', hostileWords(random)),
    () => status(409, 'Conflict'),
    () => ({
      ...status(429, 'TooManyRequests'),
      headers: { 'retry-after': random.pick(['1', '999999', '-1', 'x']) },
    }),
    () => ({ status: 500, text: hostileWords(random) }),
    () => ({ status: 200, text: 'not JSON' }),
    () => ({
      status: 200,
      text: random.pick(['null', '[]', '7', '{"items":7}', '{"items":[null,{"spec":7}]}', '{"metadata":7}']),
    }),
    () => 'reset',
    () => 'hang',
  ];
  // A webhook is asked about writes alone.
  if (method === 'GET') answers.pop();
  return random.pick(answers)();
}

/** Pulls of strangers' images end as the registry wants. */
export function kubeletOfStrangers(objects: Objects, pod: StoredObject, seed: number, now: number): void {
  const random = randomOf(seed, hashOf(pod.name));
  if (random.chance(0.2)) return;
  const status = podStatus({ random, now }, random.chance(0.5) ? hostileWords(random) : undefined);
  objects.patch(pod, [{ op: 'add', path: '/status', value: status }]);
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}
