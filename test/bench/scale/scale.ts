import { rounded } from '../../support/percentile.ts';
import type { Bench, Progress, Row } from '../bench.ts';
import { POINTS } from './points.ts';

type Rows = ReadonlyMap<string, Row>;

const CPU = 'cpuSecondsPerThousand';

/** Each of numbers that one run came to; left out where a point was not run. */
const RATIOS: Readonly<Record<string, (rows: Rows) => number | undefined>> = {
  cpuPerPull5000Over100: (rows) => over(of(rows, 'pulls-5000', CPU), of(rows, 'pulls-100', CPU)),
  // What the short form has in its place.
  cpuPerPull1000Over100: (rows) => over(of(rows, 'pulls-1000', CPU), of(rows, 'pulls-100', CPU)),
  simulatedOverHollow: (rows) => over(of(rows, 'simulated-20', CPU), of(rows, 'hollow-20', CPU)),
  cpuOverApiServer: (rows) => most(rows, 'cpuOverApiServer'),
  writesPerPull: (rows) => most(rows, 'writesPerPull'),
  releaseLagP99Ms: (rows) => most(rows, 'releaseLagP99Ms'),
  coreAt198x989: (rows) => of(rows, 'holds-198', 'core'),
  coreAtRestWithReports: (rows) => of(rows, 'rest', 'coreWithReports'),
  coreAtRest: (rows) => of(rows, 'rest', 'core'),
  rssMb: (rows) => of(rows, 'rest', 'peakMb'),
  idleRssMb: (rows) => most(rows, 'idleMb'),
};

/** @param point the name of the only one to run */
async function run(progress: Progress, short: boolean, point?: string) {
  const rows = new Map<string, Row>();
  for (const one of POINTS) {
    if (point === undefined ? short && one.short !== true : one.name !== point) continue;
    progress(`${one.name}: begins`);
    // A point that fails says so, and the others go on.
    const row = await one.run(progress, short).catch((error: unknown) => ({ failed: firstLine(error) }));
    rows.set(one.name, row);
    progress(`${one.name}: ${JSON.stringify(row)}`);
  }
  const ratios: Record<string, number> = {};
  for (const [name, ratio] of Object.entries(RATIOS)) {
    const value = ratio(rows);
    if (value !== undefined) ratios[name] = rounded(value);
  }
  return {
    rows: [...rows].map(([name, row]) => ({ point: name, ...row })),
    ratios,
    notes: NOTES,
  };
}

const NOTES = [
  'etcd, API server and controller manager are real. The nodes are simulated by one program, which also reports the pulls of their pods. All of these share the machine with Pullgate. So times depend on all of them, and CPU seconds are of Pullgate alone.',
  'pulls: --parallelism 100%, --max-concurrent-pulls 400, each pull takes 2 s. overIdeal is the time until every Deployment was released, divided by the ideal (number of waves times 2 s). placeTaken is the time from the end of a pull to the start of the next pull in its place. releaseLag is the time from the last pull to the release. The bench sees both in a watch of its own.',
  'simulated-20 and hollow-20 compare the simulated kubelets with kubemark: real kubelets whose runtime pulls in no time. Those still take longer, so Pullgate writes more, because it writes the status of a hold once a second.',
  'holds-198: OpenKruise reported 887 reconciles a second and 94.6% of a core for 198 image pull jobs on 989 nodes. Pullgate runs with its defaults, 200 pulls at a time, and each pull takes 60 s.',
  'rest: 10,000 Deployments of 6 KB, and 5,000 nodes with 50 images each, which report nothing. coreWithReports adds the status that each kubelet sends every 5 minutes. peakMb includes the start. idleMb is measured on the cluster of that row before the first hold.',
  'failing: 1,000 holds. On a tenth of the nodes every pull fails.',
  'core and cpuSecondsPerThousand (pulls on a node) are of Pullgate. cpuOverApiServer is the CPU time of Pullgate divided by that of the API server. Memory is resident. podsBeyondNeed counts puller pods that were created twice for one pull.',
  'A ratio is the worst of the rows named pulls, unless its name names another row. coreAtRest and rssMb (the peak) are from the row rest.',
  'takeover: the leader is killed. The other replica waits until the Lease expires, reads everything, and continues.',
];

function of(rows: Rows, point: string, column: string): number | undefined {
  const value = rows.get(point)?.[column];
  return typeof value === 'number' ? value : undefined;
}

function firstLine(error: unknown): string {
  return String(error).split('\n')[0] ?? '';
}

function over(above: number | undefined, below: number | undefined): number | undefined {
  return above === undefined || below === undefined ? undefined : above / below;
}

function most(rows: Rows, column: string): number | undefined {
  const points = [...rows.keys()].filter((point) => point.startsWith('pulls-'));
  const values = points.flatMap((point) => of(rows, point, column) ?? []);
  return values.length === 0 ? undefined : Math.max(...values);
}

export const scale: Bench = {
  name: 'scale',
  title: 'What pulls, holds and rest cost on clusters of 100 to 5,000 simulated nodes.',
  needs: 'cores',
  minutes: 18,
  points: POINTS.map(({ name }) => name),
  goals: {
    cpuPerPull5000Over100: { is: '<=', limit: 1.2 },
    writesPerPull: { is: '<=', limit: 3 },
    rssMb: { is: '<=', limit: 250 },
    idleRssMb: { is: '<=', limit: 150 },
    releaseLagP99Ms: { is: '<=', limit: 500 },
    coreAt198x989: { is: '<=', limit: 0.25 },
    coreAtRest: { is: '<=', limit: 0.005 },
  },
  run,
};
