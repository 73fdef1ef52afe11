import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { API_GROUP_PATH, PULLER_LABEL } from '../../../src/api/names.ts';
import type { Query } from '../../../src/cluster/api-call.ts';
import { asArray, at } from '../../../src/json.ts';
import { startScaleCluster } from '../../cluster/simulated/cluster.ts';
import { isHeld } from '../../support/e2e/deployment.ts';
import { until } from '../../support/e2e/until.ts';
import { type Churn, createChurn } from './churn.ts';
import { followDeployments } from './followed.ts';
import { type SoakedGate, startSoakedGate } from './gate-process.ts';
import { type Growth, growth, isAboveLimit, type Sample } from './growth.ts';
import { rememberedImages } from './remembered-images.ts';
import { GROUP_LABEL, NODES_IN_GROUP, registryOf, type World } from './workload.ts';

export interface SoakOptions {
  readonly minutes: number;
  /** Lives of holds that begin in a second. */
  readonly rate: number;
  readonly progress: (line: string) => void;
}

export interface SoakReport {
  readonly kubernetesVersion: string;
  readonly minutes: number;
  readonly deployments: number;
  readonly outcomes: Churn['outcomes'];
  /** Lives that could not begin in time: the machine is too slow for the rate. */
  readonly late: number;
  readonly pulls: number;
  readonly samples: readonly Sample[];
  readonly live: Growth;
  readonly resident: Growth;
  /** When all is over: how many images of holds, each for one of its own, the gate's memory still names. */
  readonly rememberedImages: number;
  /** What did not go as it should. */
  readonly problems: readonly string[];
}

const GROUPS = 24;
const FLAGS = [
  // The time to live of finished ImagePreloads, an hour by default: as long each is another one in the cache.
  '--ttl-seconds',
  '5',
  // Where the machine is so busy that an answer takes over 5 s, the update is to be asked about again.
  '--failure-policy',
  'Fail',
];
/** The garbage collector of the cluster, too, has done its part by then. */
const REST_SECONDS = 90;
const MB = 1e6;

/** Opens and ends holds at a steady rate, and looks at what of it stays in the gate's memory. */
export async function soak({ minutes, rate, progress }: SoakOptions): Promise<SoakReport> {
  const cluster = await startScaleCluster({
    nodes: GROUPS * NODES_IN_GROUP,
    labelsOf: (index) => ({ [GROUP_LABEL]: groupName(index) }),
    backoffMs: 1000,
    log: progress,
  });
  const ends: (() => Promise<unknown>)[] = [() => cluster.stop()];
  try {
    const hanging = new Set<string>();
    cluster.kubelets.answers = registryOf(hanging);
    const followed = await followDeployments(cluster.api);
    ends.push(() => followed.stop());
    const log = join(cluster.folder, 'gate.log');
    const gate = await startSoakedGate(cluster.kubeconfig, FLAGS, log);
    ends.push(() => gate.kill());
    progress('the gate is ready');
    return await soakGate({ gate, log }, { cluster, followed, hanging }, { minutes, rate, progress });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

async function soakGate(
  { gate, log }: { readonly gate: SoakedGate; readonly log: string },
  world: World,
  { minutes, rate, progress }: SoakOptions,
): Promise<SoakReport> {
  const { cluster } = world;
  const groups = Array.from({ length: GROUPS }, (_, index) => groupName(index));
  const churn = await createChurn({ world, groups, rate });
  progress(`${churn.deployments} Deployments; ${rate} begin to change in a second, for ${minutes} minutes`);

  const began = performance.now();
  const samples: Sample[] = [];
  const end = began + minutes * 60_000;
  for (let left = minutes * 60; left > 0; left = (end - performance.now()) / 1000) {
    await churn.run(Math.min(left, burstSeconds(minutes)));
    const taken = await takeSample(gate, churn, began);
    samples.push(taken);
    progress(lineOf(taken, churn));
  }

  const left = await leftOver(world);
  const snapshot = join(cluster.folder, 'gate.heapsnapshot');
  await gate.writeHeap(snapshot);
  const remembered = [...(await rememberedImages(snapshot))];
  const exitCode = await gate.stop();
  const live = growth(samples, ({ liveMb }) => liveMb);
  const { outcomes, late, deployments } = churn;
  return {
    kubernetesVersion: cluster.kubernetesVersion,
    minutes,
    deployments,
    outcomes,
    late,
    pulls: cluster.kubelets.pulls.length,
    samples,
    live,
    resident: growth(samples, ({ residentMb }) => residentMb),
    rememberedImages: remembered.length,
    problems: [
      ...churn.problems,
      ...left,
      ...(exitCode === 0 ? [] : [`the gate ended with ${exitCode}`]),
      ...errorsIn(log),
      ...tooMany(remembered, deployments),
      ...(isAboveLimit(live) ? ['live memory grows by more than the limit'] : []),
    ],
  };
}

/** Some 40 samples, each with nothing under way: what is makes more of a difference than what may not stay. */
function burstSeconds(minutes: number): number {
  return Math.min(60, Math.max(10, (minutes * 60) / 40));
}

async function takeSample(gate: SoakedGate, { outcomes }: Churn, began: number): Promise<Sample> {
  const { liveBytes, heapBytes, residentBytes, cpuSeconds } = await gate.usage();
  return {
    seconds: (performance.now() - began) / 1000,
    holds: outcomes.opened + outcomes.superseded,
    liveMb: liveBytes / MB,
    heapMb: heapBytes / MB,
    residentMb: residentBytes / MB,
    cpuSeconds,
  };
}

/** A stored Deployment names its image; what was said last may name some more. */
const SAID_LAST = 10;

function tooMany(remembered: readonly string[], deployments: number): string[] {
  const most = deployments + SAID_LAST;
  if (remembered.length <= most) return [];
  const some = remembered.slice(0, 5).join(', ');
  return [`${remembered.length} images are remembered, where ${deployments} are stored: ${some} ...`];
}

function groupName(index: number): string {
  return `group-${1 + (index % GROUPS)}`;
}

/** Once every rollout is over, nothing is held, no puller pod is needed, and finished ImagePreloads have had their time. */
async function leftOver({ cluster: { api }, followed }: World): Promise<string[]> {
  const problems = [...followed.values()]
    .filter((deployment) => deployment.paused || isHeld(deployment))
    .map(({ namespace, name }) => `${namespace}/${name} is still paused or held`);
  const gone = async (what: string, path: string, query: Query) => {
    const names = async () => {
      return asArray(at(await api.get(path, query), 'items')).map((item) => at(item, 'metadata', 'name'));
    };
    await until(`no ${what} is left`, REST_SECONDS, names, ({ length }) => length === 0);
  };
  await gone('puller pod', '/api/v1/pods', { labelSelector: PULLER_LABEL }).catch(note);
  await gone('ImagePreload', `${API_GROUP_PATH}/imagepreloads`, {}).catch(note);
  return problems;

  function note(error: unknown): void {
    problems.push(String(error));
  }
}

/** Of level error and above: what a gate should never say while all that it needs is there. */
function errorsIn(log: string): string[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter((text) => /^\{"level":[56]0/.test(text))
    .slice(0, 5);
}

function lineOf(
  { seconds, liveMb, heapMb, residentMb }: Sample,
  { outcomes, problems, late }: Churn,
): string {
  const counts = Object.entries(outcomes).map(([what, count]) => `${what} ${count}`);
  return [
    `${seconds.toFixed(0)} s: live ${liveMb.toFixed(2)} MB, heap ${heapMb.toFixed(0)} MB, resident ${residentMb.toFixed(0)} MB`,
    counts.join(' '),
    `late ${late}, problems ${problems.length}`,
  ].join('; ');
}
