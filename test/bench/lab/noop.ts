import { MODE_LABEL } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { manifestOf } from '../../support/e2e/deployment.ts';
import { startGate } from '../../support/e2e/gate-process.ts';
import { createNamespace } from '../../support/e2e/namespace.ts';
import { until } from '../../support/e2e/until.ts';
import { median, percentile, rounded } from '../../support/percentile.ts';
import type { Bench, Measured, Progress, Row } from '../bench.ts';
import { labVersions, onLab, type Stage } from './stage.ts';

export const noop: Bench = {
  name: 'noop',
  title: 'Updates that need no hold, end to end through the API server, with and without the webhook.',
  needs: 'lab',
  minutes: 1,
  goals: { callsPerUpdate: { is: '<=', limit: 0 } },
  run: (progress, short) => onLab((stage) => measureNoop(stage, short ? 40 : 400, progress)),
};

/** One after the other, so that each change is one. */
const UPDATES: readonly {
  readonly name: string;
  readonly of: (index: number) => unknown;
  readonly at?: string;
}[] = [
  { name: 'label', of: (index) => ({ metadata: { labels: { 'example.com/round': `${index}` } } }) },
  { name: 'annotation', of: (index) => ({ metadata: { annotations: { 'example.com/round': `${index}` } } }) },
  {
    name: 'replicas, by an update of the Deployment',
    of: (index) => ({ spec: { replicas: 1 + (index % 2) } }),
  },
  {
    name: 'replicas, by kubectl scale',
    of: (index) => ({ spec: { replicas: 1 + (index % 2) } }),
    at: '/scale',
  },
];

/** Its pods land nowhere: kubelets at work would be all the noise there is. */
const NOWHERE = { nodeSelector: { 'example.com/there-is': 'no-such-node' } };

async function measureNoop(stage: Stage, rounds: number, progress: Progress): Promise<Measured> {
  const { lab, api } = stage;
  const gate = await startGate(lab);
  stage.after(() => gate.stop());
  const path = async (labels: Readonly<Record<string, string>>) => {
    const namespace = await createNamespace(stage, lab, api, labels);
    const collection = `/apis/apps/v1/namespaces/${namespace.name}/deployments`;
    await api.create(collection, manifestOf('web', { pod: NOWHERE }));
    return `${collection}/web`;
  };
  const paths = { with: await path({ [MODE_LABEL]: 'pause' }), without: await path({}) };
  await until(
    'the label of the namespace is seen',
    20,
    async () => {
      const before = await calls(lab);
      // Only a change of the template reaches the webhook.
      const metadata = { annotations: { 'example.com/asked': `${before}` } };
      await api.mergePatch(paths.with, { spec: { template: { metadata } } });
      return (await calls(lab)) > before;
    },
    Boolean,
  );

  const rows: Row[] = [];
  for (const { name, of, at = '' } of UPDATES) {
    progress(`${rounds} rounds: ${name}`);
    const times = { with: [] as number[], without: [] as number[] };
    const before = await calls(lab);
    for (let round = 0; round < rounds; round += 1) {
      const order = round % 2 === 0 ? (['with', 'without'] as const) : (['without', 'with'] as const);
      for (const side of order) times[side].push(await took(api, paths[side] + at, of(round)));
    }
    const asked = (await calls(lab)) - before;
    const [withGate, without] = [median(times.with), median(times.without)];
    rows.push({
      update: name,
      withMs: rounded(withGate),
      withoutMs: rounded(without),
      withP99Ms: rounded(percentile(times.with, 0.99)),
      withoutP99Ms: rounded(percentile(times.without, 0.99)),
      withOverWithout: rounded(withGate / without),
      addedMs: rounded(withGate - without),
      callsOfTheGatePerUpdate: rounded(asked / rounds),
    });
  }
  return {
    versions: await labVersions(stage),
    rows,
    ratios: {
      withOverWithout: Math.max(...rows.map(({ withOverWithout }) => Number(withOverWithout))),
      callsPerUpdate: Math.max(...rows.map(({ callsOfTheGatePerUpdate: calls }) => Number(calls))),
    },
    notes: [
      'Two namespaces, one with the label and one without, have the same Deployment, and both are updated in turns. The times are medians. Both ratios are of the worst kind of update.',
      'The API server counts the calls of the webhook (apiserver_admission_webhook_admission_duration_seconds_count). The match conditions of the webhook exclude these updates, so Pullgate is not called.',
    ],
  };
}

async function took(api: ApiClient, path: string, body: unknown): Promise<number> {
  const began = performance.now();
  await api.mergePatch(path, body);
  return performance.now() - began;
}

/** How often the API server has called the gate so far. */
async function calls(lab: Lab): Promise<number> {
  const { stdout } = await lab.kubectl(['get', '--raw', '/metrics'], { timeoutSeconds: 30 });
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('apiserver_admission_webhook_admission_duration_seconds_count{'))
    .filter((line) => /name="[^"]*pullgate/.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
