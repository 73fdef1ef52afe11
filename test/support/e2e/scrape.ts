import assert from 'node:assert/strict';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../../src/json.ts';

const HEALTH_PORT = 8081;

/** One line of the text format of Prometheus. */
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What the replicas show at one moment. */
export interface Scrape {
  /** Of each replica, the gate's own. */
  readonly replicas: readonly (readonly Sample[])[];
  /** Over all replicas and all series with these labels. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
  /** Of each replica that shows it. */
  values(name: string, labels?: Readonly<Record<string, string>>): number[];
}

async function gatePods(api: ApiClient): Promise<string[]> {
  const list = await api.get('/api/v1/namespaces/pullgate/pods', {
    labelSelector: 'app.kubernetes.io/component=gate',
  });
  return asArray(at(list, 'items'))
    .filter((pod) => at(pod, 'metadata', 'deletionTimestamp') === undefined)
    .map((pod) => asString(at(pod, 'status', 'podIP')) ?? '');
}

/** Every replica is asked by the address of its pod, as a kubelet or a Prometheus does. */
export async function askReplicas(api: ApiClient, path: string): Promise<string[]> {
  return await Promise.all(
    (await gatePods(api)).map(async (ip) => {
      const answer = await fetch(`http://${ip}:${HEALTH_PORT}${path}`);
      const text = await answer.text();
      assert.equal(answer.status, 200, text);
      return text;
    }),
  );
}

export async function scrape(api: ApiClient): Promise<Scrape> {
  const texts = await askReplicas(api, '/metrics');
  const replicas = texts.map((text) =>
    text
      .split('\n')
      .filter((line) => line.startsWith('pullgate_'))
      .map(parseSample),
  );
  const values: Scrape['values'] = (name, labels = {}) =>
    replicas.flat().flatMap((sample) => {
      const matches = Object.entries(labels).every(([label, value]) => sample.labels[label] === value);
      return sample.name === name && matches ? sample.value : [];
    });
  return {
    replicas,
    values,
    sum: (name, labels) => values(name, labels).reduce((sum, value) => sum + value, 0),
  };
}

function parseSample(line: string): Sample {
  const [, name = '', inside = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  assert.notEqual(name, '', line);
  const labels = [...inside.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', text = '']) => [label, text]);
  return {
    name,
    labels: Object.fromEntries(labels),
    value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
  };
}
