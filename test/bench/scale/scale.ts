import type { Bench, Progress, Row } from '../bench.ts';
import { rounded } from '../percentile.ts';
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
  'Real etcd, API server and controller manager; the nodes are simulated, in one program that takes their pods through their pulls. All of it shares the machine with the gate: times tell of both, CPU seconds of the gate alone.',
  'pulls: --parallelism 100%, --max-concurrent-pulls 400, each pull 2 s; overIdeal is the time until all was released over waves times pull. placeTaken is from a pull that ended to the one that took its place, releaseLag from the last pull to the Deployment that goes on, both as a watch of our own sees them.',
  "simulated-20 and hollow-20: the check of the simulated kubelets beside kubemark, real ones whose runtime takes no time to pull; they take longer all the same, and a hold's status is written each second that it lasts.",
  'holds-198: OpenKruise reported 887 reconciles a second and 94.6% of a core for 198 image pull jobs on 989 nodes. Ours run with the defaults, 200 pulls at a time, each of 60 s.',
  'rest: 10,000 Deployments of 6 KB and 5,000 nodes with 50 images each, which report nothing; coreWithReports is with the status that each kubelet sends every 5 minutes. peakMb covers the start, too. idleMb is of a gate on the cluster of that row before anything has happened.',
  'failing: 1,000 holds, a tenth of the nodes refuse every pull.',
  'core and cpuSecondsPerThousand (node pulls): of the gate; cpuOverApiServer is beside what the API server took. Memory is resident. podsBeyondNeed: made twice for one pull.',
  'Ratios are the worst of the pulls rows, but those that name a point; coreAtRest and rssMb (the peak) are of rest.',
  'takeover: the leader is killed, and the other replica waits for the end of its lease, reads everything, and goes on.',
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
