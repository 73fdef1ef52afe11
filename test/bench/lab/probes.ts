import { setTimeout as wait } from 'node:timers/promises';
import { API_GROUP_PATH, API_VERSION, IMAGE_PRELOAD_KIND } from '../../../src/api/names.ts';
import { asObject, asString, at } from '../../../src/json.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import { until } from '../../support/e2e/until.ts';
import type { Stage } from './stage.ts';

export interface Probes {
  /** Until so many have a status. */
  answered(count: number): Promise<void>;
  /** Ends the making of further ones, and returns what the one that waited longest has waited, in ms. */
  longestWait(since: number): Promise<number>;
}

const EVERY_MS = 250;
const PATIENCE_SECONDS = 60;

/** Preloads by hand of an image that every node has: all that there is to do for them is to write their status. */
export function probes({ api }: Stage, namespace: string, name: string): Probes {
  const path = `${API_GROUP_PATH}/namespaces/${namespace}/imagepreloads`;
  const made = new Map<string, number>();
  const answered = new Map<string, number>();
  const watching = new AbortController();
  let making = true;

  async function make(): Promise<void> {
    for (let index = 0; making; index += 1) {
      const probe = `${name}-${index}`;
      await api.create(path, {
        apiVersion: API_VERSION,
        kind: IMAGE_PRELOAD_KIND,
        metadata: { name: probe },
        spec: { images: [{ image: PAUSE_IMAGE, imagePullPolicy: 'IfNotPresent' }] },
      });
      made.set(probe, performance.now());
      await wait(EVERY_MS);
    }
  }

  async function watch(): Promise<void> {
    for await (const event of api.watch(path, {}, watching.signal)) {
      const object = asObject(at(event, 'object'));
      const of = asString(at(object, 'metadata', 'name')) ?? '';
      if (object['status'] !== undefined && !answered.has(of)) answered.set(of, performance.now());
    }
  }

  const done = Promise.all([make(), watch().catch(() => undefined)]);
  done.catch(() => undefined);
  return {
    answered: async (count) => {
      await until(
        `${count} probes have a status`,
        PATIENCE_SECONDS,
        () => answered.size,
        (size) => size >= count,
      );
    },
    async longestWait(since) {
      // One more, so that the last one waited for is of the new leader.
      const upTo = made.size + 1;
      await until(
        'a new probe is made',
        PATIENCE_SECONDS,
        () => made.size,
        (size) => size >= upTo,
      );
      making = false;
      await until(
        'all of them have a status',
        PATIENCE_SECONDS,
        () => [...made.keys()].filter((probe) => !answered.has(probe)),
        ({ length }) => length === 0,
      );
      watching.abort();
      await done;
      const waits = [...made]
        .filter(([, at]) => at >= since)
        .map(([probe, at]) => (answered.get(probe) ?? Number.NaN) - at);
      return Math.max(...waits);
    },
  };
}
