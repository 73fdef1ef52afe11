import { median } from '../../support/percentile.ts';
import type { CountedFrom } from './faults.ts';

/** All that happened of one fault. */
export interface FaultResults {
  readonly what: string;
  readonly from: CountedFrom;
  /** How long it lasted; undefined: it has no length of its own. */
  readonly seconds: number | undefined;
  readonly outcomes: readonly {
    readonly recoverySeconds: number;
    readonly holds: number;
    readonly broken: readonly string[];
  }[];
}

export interface Results {
  /** When it was, such as 2026-01-31. */
  readonly day: string;
  readonly kubernetesVersion: string;
  readonly nodes: number;
  readonly minutes: number;
  readonly faults: readonly FaultResults[];
}

interface Row {
  readonly fault: string;
  readonly times: string;
  readonly holds: string;
  readonly from: string;
  readonly median: string;
  readonly max: string;
  readonly broken: string;
}

const TITLES: Row = {
  fault: 'fault',
  times: 'times',
  holds: 'holds open',
  from: 'counted from',
  median: 'median',
  max: 'max',
  broken: 'broken',
};

/** For a terminal. */
export function textTable(results: Results): string {
  const rows = [TITLES, ...results.faults.map(rowOf)];
  const columns = Object.keys(TITLES) as (keyof Row)[];
  const width = (column: keyof Row) => Math.max(...rows.map((row) => row[column].length));
  return rows
    .map((row) =>
      columns
        .map((column) => row[column].padEnd(width(column)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** docs/faults.md: every number in it is measured. */
export function page(results: Results): string {
  const { day, kubernetesVersion, nodes, minutes, faults } = results;
  const outcomes = faults.flatMap(({ outcomes: all }) => all);
  const broken = outcomes.flatMap((outcome) => outcome.broken);
  const line = (row: Row) => `| ${Object.values(row).join(' | ')} |`;
  const columns = Object.keys(TITLES);
  return `# Faults

What happens to held rollouts when a part of the cluster fails. This page is written by \`npm run test:faults\`, which installs the
manifests with two replicas on the lab, opens holds, causes a fault, and watches from outside. Last run: ${day}, Kubernetes
${kubernetesVersion}, ${nodes} nodes (${nodes + 1} where a node is lost or full), ${minutes} minutes.

${line(TITLES)}
${line(Object.fromEntries(columns.map((column) => [column, '---'])) as unknown as Row)}
${faults.map(rowOf).map(line).join('\n')}

Each time, four Deployments are held: two with new images (pulled at 10 MB/s), one that its user has paused, and one whose image does
not exist. \`median\` and \`max\`: seconds from the moment in \`counted from\` until the next hold was released, or 0 if all were
released before the fault had ended.
When a leader is killed, its Lease lasts for another 15 s, which is most of the time that the kills cost.

\`broken\` counts broken promises (${broken.length} in ${outcomes.length} ${outcomes.length === 1 ? 'fault' : 'faults'}):

- Nothing is lost: a held Deployment is released when its image is on every eligible node. Otherwise it is still held, and its ImagePreload says why.
- Nothing stays paused: after the fault, the only paused Deployments are those that are held and those that their users have paused.
- Nothing is released early: at the moment of the release, the containerd of every eligible node had the whole image.
${broken.length === 0 ? '' : `\n## Broken\n\n${broken.map((words) => `- ${words.replaceAll('\n', ' ').slice(0, 500)}`).join('\n')}\n`}`;
}

function rowOf({ what, from, seconds, outcomes }: FaultResults): Row {
  const times = outcomes.map(({ recoverySeconds }) => recoverySeconds);
  const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);
  return {
    fault: seconds === undefined ? what : `${what} (${seconds} s)`,
    times: String(outcomes.length),
    holds: String(sum(outcomes.map(({ holds }) => holds))),
    from,
    median: inSeconds(median(times)),
    max: inSeconds(Math.max(...times)),
    broken: String(sum(outcomes.map(({ broken }) => broken.length))),
  };
}

function inSeconds(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(1)} s` : 'never';
}
