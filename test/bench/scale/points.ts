import { setTimeout as pause } from 'node:timers/promises';
import { at } from '../../../src/json.ts';
import type { ScaleOptions } from '../../cluster/simulated/cluster.ts';
import { until } from '../../support/e2e/until.ts';
import { rounded } from '../../support/percentile.ts';
import type { Progress, Row } from '../bench.ts';
import { largeDeployment, NODE_IMAGES, NODE_LABELS } from './large-objects.ts';
import { meter, onStage, type Stage } from './stage.ts';
import { placesTaken, quantiles, releaseLags } from './watched.ts';
import { createWorkloads } from './workloads.ts';

/** One size of cluster, and what goes on in it. What it measures by its name in `row`, and what ratios are made of. */
export interface Point {
  readonly name: string;
  /** Whether it is part of the short form. */
  readonly short?: true;
  run(progress: Progress, short: boolean): Promise<Row>;
}

/** More than one preload has by default, so that it is the gate's work that is measured, not its patience. */
const AT_A_TIME = 400;
const WIDE = ['--parallelism', '100%', '--max-concurrent-pulls', String(AT_A_TIME)];
const PULL_SECONDS = 2;
const PULLS = 5000;
const SHORT_PULLS = 1000;
/** On a busy machine with two cores, where the API server needs 10 ms of a core for each pull. */
const PATIENCE_SECONDS = 400;

/** Holds of all nodes, one after the other or as many at a time as may pull at a time. */
function pulls(nodes: number, short?: true): Point {
  return {
    name: `pulls-${nodes}`,
    ...(short && { short }),
    run: (progress, isShort) =>
      onStage({ nodes, pullSeconds: PULL_SECONDS, flags: WIDE, progress }, (stage) =>
        pullEverywhere(stage, Math.max(nodes, isShort ? SHORT_PULLS : PULLS), PULL_SECONDS),
      ),
  };
}

/** The simulated kubelets beside kubemark's real ones, whose runtime has every image at once. */
const CHECK_NODES = 20;
const CHECK_PULLS = 400;

function check(name: string, nodes: Pick<ScaleOptions, 'nodes' | 'hollowNodes'>): Point {
  return {
    name,
    run: (progress) =>
      onStage({ ...nodes, pullSeconds: 0, flags: WIDE, progress }, (stage) =>
        pullEverywhere(stage, CHECK_PULLS, 0),
      ),
  };
}

async function pullEverywhere(stage: Stage, count: number, pullSeconds: number): Promise<Row> {
  const nodes = stage.cluster.nodes.length;
  const { cluster, gate, watched, progress } = stage;
  const holds = Math.ceil(count / nodes);
  const atATime = nodes >= AT_A_TIME ? holds : Math.ceil(AT_A_TIME / nodes);
  const workloads = await createWorkloads(cluster, 'bench', holds);
  await pause(SETTLE_MS);
  const idleMb = gate.residentMb();
  const used = await meter(stage);
  const began = performance.now();
  for (let begun = 0; begun < holds; begun += atATime) {
    const some = workloads.names.slice(begun, begun + atATime);
    await workloads.update(some);
    await released(stage, begun + some.length);
    progress(`${watched.count('pulled')} pulls, ${watched.count('released')} of ${holds} released`);
  }
  const seconds = (performance.now() - began) / 1000;
  // Its pods go once its rollout is over: a part of what each pull costs.
  await until(
    'all puller pods are gone',
    PATIENCE_SECONDS,
    () => watched.count('created') - watched.count('gone'),
    (left) => left === 0,
  );
  const took = await used();
  // A kubelet pulls one image after the other.
  const waves = nodes >= AT_A_TIME ? Math.ceil((holds * nodes) / AT_A_TIME) : holds;
  const { facts } = watched;
  const lag = quantiles(releaseLags(facts));
  const taken = quantiles(nodes > AT_A_TIME ? placesTaken(facts, AT_A_TIME) : []);
  return {
    nodes,
    holds,
    pulls: took.pulls,
    seconds: rounded(seconds),
    ...(pullSeconds > 0 && { overIdeal: rounded(seconds / (waves * pullSeconds)) }),
    cpuSecondsPerThousand: rounded((took.cpuSeconds / took.pulls) * 1000),
    cpuOverApiServer: rounded(took.cpuSeconds / took.apiServerCpuSeconds),
    core: rounded(took.cpuSeconds / took.seconds),
    callsPerPull: rounded(took.calls.total / took.pulls),
    writesPerPull: rounded(took.calls.writes / took.pulls),
    idleMb,
    peakMb: gate.peakMb(),
    releaseLagP50Ms: lag.p50,
    releaseLagP99Ms: lag.p99,
    ...(nodes > AT_A_TIME && { placeTakenP50Ms: taken.p50, placeTakenP99Ms: taken.p99 }),
  };
}

const SETTLE_MS = 10_000;

async function released({ watched }: Stage, count: number): Promise<void> {
  await until(
    `${count} are released`,
    PATIENCE_SECONDS,
    () => watched.count('released'),
    (seen) => seen >= count,
  );
}

/** Holds that stay open, with the gate as it is by default. */
function open(
  name: string,
  options: {
    readonly nodes: number;
    readonly holds: number;
    readonly pullSeconds: number;
    readonly seconds: number;
    /** Of all pulls, by node. */
    readonly failing?: (index: number) => boolean;
  },
): Point {
  const { nodes, holds, pullSeconds, seconds, failing } = options;
  return {
    name,
    run: (progress) =>
      onStage({ nodes, pullSeconds, flags: [], progress }, async (stage) => {
        const { cluster, gate, watched } = stage;
        const bad = new Set(cluster.nodes.filter((_, index) => failing?.(index)).map((node) => node.name));
        const workloads = await createWorkloads(cluster, 'bench', holds);
        await pause(SETTLE_MS);
        cluster.kubelets.answers = (_image, node) =>
          bad.has(node)
            ? { fails: 'dial tcp 192.0.2.9:443: connect: connection refused' }
            : { seconds: pullSeconds };
        await workloads.update(workloads.names);
        await until(
          'all of them are held',
          PATIENCE_SECONDS,
          () => watched.count('held'),
          (seen) => seen >= holds,
        );
        progress(`${holds} holds are open`);
        // Each has been looked at, and the first pulls have begun.
        await pause(SETTLE_MS);
        const used = await meter(stage);
        await pause(seconds * 1000);
        const took = await used();
        return {
          nodes,
          holds,
          pulls: took.pulls,
          seconds: rounded(took.seconds),
          core: rounded(took.cpuSeconds / took.seconds),
          callsPerSecond: rounded(took.calls.total / took.seconds),
          writesPerSecond: rounded(took.calls.writes / took.seconds),
          peakMb: gate.peakMb(),
        };
      }),
  };
}

/** The Deployment controller creates 10,000 ReplicaSets, and counts them: two writes each, on a busy machine 30 in a second. */
const SETTLING_SECONDS = 900;

/**
 * Waits until no Deployment has changed for a while: their controller has much to do before. The resourceVersion of a list would not
 * tell, because it moves on with every Lease that is renewed.
 */
async function settled({ api }: Stage['cluster']): Promise<void> {
  const path = '/apis/apps/v1/deployments';
  const resourceVersion = String(at(await api.get(path, { limit: 1 }), 'metadata', 'resourceVersion'));
  const watching = new AbortController();
  let changedAt = performance.now();
  let broken: unknown;
  async function follow(): Promise<void> {
    for await (const _ of api.watch(path, { resourceVersion }, watching.signal))
      changedAt = performance.now();
    broken ??= new Error('the watch has ended');
  }
  const followed = follow().catch((error: unknown) => {
    broken ??= error;
  });
  try {
    await until(
      'no Deployment changes any more',
      SETTLING_SECONDS,
      () => ({ quietMs: performance.now() - changedAt, broken }),
      ({ quietMs }) => broken !== undefined || quietMs > SETTLE_MS,
    );
  } finally {
    watching.abort();
  }
  if (broken !== undefined) throw broken;
  await followed;
}

const REST_SECONDS = 60;
/** Of the whole status of a node where nothing has changed (the kubelet's nodeStatusReportFrequency). */
const REPORT_SECONDS = 300;

/** What the kubelets of all these nodes would say meanwhile. */
async function reports({ api, nodes }: Stage['cluster'], seconds: number): Promise<void> {
  const began = performance.now();
  for (let sent = 0; performance.now() - began < seconds * 1000; sent += 1) {
    const node = nodes[sent % nodes.length]?.name;
    const condition = { type: 'Ready', lastHeartbeatTime: new Date().toISOString() };
    await api.strategicPatch(`/api/v1/nodes/${node}/status`, { status: { conditions: [condition] } });
    const due = began + ((sent + 1) * REPORT_SECONDS * 1000) / nodes.length;
    await pause(Math.max(0, due - performance.now()));
  }
}

/** Nothing changes. */
const rest: Point = {
  name: 'rest',
  run: (progress) =>
    onStage(
      { nodes: 5000, labelsOf: () => NODE_LABELS, images: NODE_IMAGES, pullSeconds: 1, flags: [], progress },
      async (stage) => {
        const { cluster, addReplica } = stage;
        await createWorkloads(cluster, 'bench', 10_000, largeDeployment);
        progress('10,000 Deployments');
        // It renews its Lease, as the next one will: one that finds it all there, as a replica that starts does.
        await stage.gate.kill();
        await settled(cluster);
        const gate = await addReplica();
        await gate.leads();
        const startMb = gate.peakMb();
        const startCpuSeconds = gate.cpuSeconds();
        await pause(SETTLE_MS);
        const used = await meter({ ...stage, gate });
        await pause(REST_SECONDS * 1000);
        const took = await used();
        progress('the same with reports of the kubelets');
        const usedBesides = await meter({ ...stage, gate });
        await reports(cluster, REST_SECONDS);
        const besides = await usedBesides();
        return {
          nodes: 5000,
          deployments: 10_000,
          seconds: rounded(took.seconds),
          core: rounded(took.cpuSeconds / took.seconds),
          coreWithReports: rounded(besides.cpuSeconds / besides.seconds),
          calls: took.calls.total,
          startCpuSeconds: rounded(startCpuSeconds),
          startMb,
          residentMb: gate.residentMb(),
          peakMb: Math.max(startMb, gate.peakMb()),
        };
      },
    ),
};

/** What one that was killed has asked for is there by then, and its lease lasts longer. */
const LAST_WORDS_MS = 1000;

/** The leader is killed while as many pulls run as may, and the other replica takes over. */
const takeover: Point = {
  name: 'takeover',
  run: (progress) =>
    onStage({ nodes: 1000, pullSeconds: PULL_SECONDS, flags: WIDE, progress }, async (stage) => {
      const { cluster, gate, watched, addReplica } = stage;
      const standby = await addReplica();
      const workloads = await createWorkloads(cluster, 'bench', 2);
      await pause(SETTLE_MS);
      watched.forget();
      await workloads.update(workloads.names);
      await until(
        'pulls are under way',
        60,
        () => watched.count('pulled'),
        (seen) => seen >= 200,
      );
      const killed = performance.now();
      await gate.kill();
      await standby.leads();
      const leadsAt = performance.now();
      await released(stage, 2);
      const next = watched.facts.find(({ kind, at }) => kind === 'created' && at > killed + LAST_WORDS_MS);
      return {
        nodes: 1000,
        holds: 2,
        leadsAfterMs: Math.round(leadsAt - killed),
        firstActionAfterMs: Math.round((next?.at ?? Number.NaN) - killed),
        pulls: watched.count('pulled'),
        podsBeyondNeed: watched.count('created') - 2 * 1000,
        allReleasedAfterMs: Math.round(
          (watched.facts.findLast(({ kind }) => kind === 'released')?.at ?? Number.NaN) - killed,
        ),
      };
    }),
};

export const POINTS: readonly Point[] = [
  pulls(100, true),
  pulls(1000, true),
  pulls(5000),
  check('simulated-20', { nodes: CHECK_NODES }),
  check('hollow-20', { nodes: 0, hollowNodes: CHECK_NODES }),
  open('holds-198', { nodes: 989, holds: 198, pullSeconds: 60, seconds: 180 }),
  open('failing', {
    nodes: 100,
    holds: 1000,
    pullSeconds: 2,
    seconds: 60,
    failing: (index) => index % 10 === 0,
  }),
  rest,
  takeover,
];
