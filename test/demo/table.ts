import type { DeploymentUpgrade, MissingTag, Results, Upgrade } from './results.ts';

interface Row {
  readonly title: string;
  readonly ungated: string;
  readonly gated: string;
}

export function seconds(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(1)} s` : 'never';
}

/** The table for a terminal. */
export function textTable(results: Results): string {
  const sections = rowsOf(results);
  const rows = sections.flatMap((section) => section.rows);
  const width = (column: keyof Row) => Math.max(...rows.map((row) => row[column].length), column.length);
  const widths = { title: width('title') + 2, ungated: width('ungated') + 2 };
  const line = ({ title, ungated, gated }: Row) =>
    `  ${title.padEnd(widths.title)}${ungated.padEnd(widths.ungated)}${gated}`.trimEnd();
  return sections
    .flatMap(({ title, rows: own }) => ['', title, ...own.map(line)])
    .toSpliced(0, 1, line({ title: '', ungated: 'UNGATED', gated: 'GATED' }))
    .join('\n');
}

/** The same for a README. */
export function markdownTable(results: Results): string {
  const line = ({ title, ungated, gated }: Row) => `| ${title} | ${ungated || '-'} | ${gated || '-'} |`;
  return [
    '| | ungated | gated |',
    '| --- | --- | --- |',
    ...rowsOf(results).flatMap(({ title, rows }) => [`| **${title}** | | |`, ...rows.map(line)]),
  ].join('\n');
}

function rowsOf({ ungated, gated, missing, megabytes }: Results): { title: string; rows: Row[] }[] {
  const both = (title: string, show: (upgrade: Upgrade) => string): Row => ({
    title,
    ungated: show(ungated),
    gated: show(gated),
  });
  const tag = (title: string, show: (result: MissingTag) => string): Row => ({
    title,
    ungated: show(missing.ungated),
    gated: show(missing.gated),
  });
  return [
    {
      title: `Seconds without a ready pod, single replica (Recreate)`,
      rows: [
        both(`new image, ${megabytes} MB`, ({ critical }) => seconds(critical.withoutReadyPod)),
        tag('tag that does not exist', ({ withoutReadyPod, readyPods }) =>
          readyPods > 0 ? seconds(withoutReadyPod) : `${seconds(withoutReadyPod)}, down until set back`,
        ),
      ],
    },
    {
      title: `(a) and (b): new image, ${megabytes} MB`,
      rows: [
        both('three replicas: seconds without a ready pod', ({ web }) => seconds(web.withoutReadyPod)),
        both('preload: single replica held', ({ critical }) => heldFor(critical)),
        both('preload: three replicas held', ({ web }) => heldFor(web)),
        both("kubelet's own pull, per node", ({ pulls }) => pullsPerNode(pulls)),
        both('rollout: single replica', ({ critical }) => seconds(critical.rollout)),
        both('rollout: three replicas', ({ web }) => seconds(web.rollout)),
        both('pod start: single replica', ({ critical }) => startsOf(critical)),
        both('pod start: three replicas', ({ web }) => startsOf(web)),
      ],
    },
    {
      title: '(c): tag that does not exist, single replica',
      rows: [
        tag('ready pods when it was set back', ({ readyPods }) => `${readyPods} of 1`),
        tag('kubectl rollout status', ({ rolloutStatus: { exitCode, seconds: after } }) =>
          exitCode === 0 ? 'succeeded' : `failed after ${seconds(after)}`,
        ),
        tag("registry's words in an event of the Deployment", ({ registryMessage }) =>
          registryMessage === undefined ? 'no' : 'yes',
        ),
      ],
    },
  ];
}

function heldFor({ held }: DeploymentUpgrade): string {
  return held === undefined ? '' : seconds(held);
}

function startsOf({ starts }: DeploymentUpgrade): string {
  return starts.map((start) => seconds(start.seconds)).join(', ');
}

/** The slowest pull of each node: of several pods that wait for the same image only the first one's is whole. */
function pullsPerNode(pulls: Upgrade['pulls']): string {
  const slowest = new Map<string, number>();
  for (const pull of pulls) slowest.set(pull.node, Math.max(slowest.get(pull.node) ?? 0, pull.seconds));
  return [...slowest]
    .toSorted(([a], [b]) => a.localeCompare(b, 'en'))
    .map(([node, duration]) => `${node} ${seconds(duration)}`)
    .join(', ');
}
