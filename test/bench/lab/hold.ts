// biome-ignore-all lint/style/noExcessiveLinesPerFile: one bench with its scenarios
import assert from 'node:assert/strict';
import { MODE_LABEL } from '../../../src/api/names.ts';
import { asArray, asString, at, type JsonObject } from '../../../src/json.ts';
import { type ImageArrivals, imageArrivals } from '../../cluster/lab/image-arrivals.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { kubeletPulls } from '../../demo/kubelet-pulls.ts';
import { type Observer, observe } from '../../demo/observe.ts';
import type { Pull } from '../../demo/results.ts';
import type { Rollout } from '../../demo/timeline.ts';
import { startGate } from '../../support/e2e/gate-process.ts';
import { createNamespace, type Namespace } from '../../support/e2e/namespace.ts';
import { until } from '../../support/e2e/until.ts';
import { median, rounded } from '../../support/percentile.ts';
import type { Bench, Measured, Progress, Row } from '../bench.ts';
import { prepullDaemonSet, prepullJobs } from './prepull.ts';
import { labVersions, onLab, type Stage } from './stage.ts';

/** How the image gets onto the nodes before the rollout, if it does. */
const WAYS = ['gate', 'DaemonSet', 'Jobs', 'none'] as const;
type Way = (typeof WAYS)[number];

interface HeavyImage {
  readonly megabytes: number;
  /** `slow`: at about 10 MB/s a connection. */
  readonly registry: 'fast' | 'slow';
}

interface HoldPlan {
  readonly images: readonly HeavyImage[];
  readonly ways: readonly Way[];
  /** Each image that often in each way. */
  readonly rounds: number;
}

const FULL: HoldPlan = {
  images: (['fast', 'slow'] as const).flatMap((registry) =>
    [1, 100, 300].map((megabytes) => ({ megabytes, registry })),
  ),
  ways: WAYS,
  // When a kubelet looks is a matter of luck, up to a second on each node.
  rounds: 3,
};
const SHORT: HoldPlan = {
  // Three images instead of three rounds: for half a minute a node goes on listing an image that was removed from it.
  images: [20, 21, 22].map((megabytes) => ({ megabytes, registry: 'fast' })),
  ways: ['gate', 'DaemonSet'],
  rounds: 1,
};

/** On everything that is watched. */
const LABEL = 'pullgate-bench';
const REPOSITORY = 'bench-hold';
const IN_REPOSITORY = `/${REPOSITORY}:`;
const PATIENCE_SECONDS = 240;

export const hold: Bench = {
  name: 'hold',
  title:
    'One rollout of a large image: held by Pullgate, preloaded by a DaemonSet, preloaded by a Job for each node, and without a preload.',
  needs: 'lab',
  minutes: 30,
  goals: {
    overheadSeconds: { is: '<=', limit: 1 },
    overDaemonSet: { is: '<', limit: 1 },
    overJobs: { is: '<', limit: 1 },
  },
  run: (progress, short) => onLab((stage) => measureHold(stage, short ? SHORT : FULL, progress)),
};

interface Run {
  readonly way: Way;
  readonly image: HeavyImage;
  /** The slowest that a kubelet says itself, in seconds. */
  readonly slowestPull: number;
  /** From the command until the rollout may begin, every node having the image. */
  readonly preload: number;
  /** By the API server's watch: what the gate itself has of `preload`. */
  readonly held: number;
  /** Of the node that had the image last: from the update to the beginning of its pull, and from the end of it to the release. */
  readonly beforePull: number;
  readonly afterPull: number;
  readonly podStart: number;
  readonly withoutReadyPod: number;
  /** From the first command until the rollout was complete. */
  readonly total: number;
}

interface Set {
  readonly stage: Stage;
  readonly observer: Observer;
  readonly arrivals: ImageArrivals['arrivals'];
  readonly namespaces: Readonly<Record<Way, Namespace>>;
}

async function measureHold(
  stage: Stage,
  { images, ways, rounds }: HoldPlan,
  progress: Progress,
): Promise<Measured> {
  const { lab, api } = stage;
  await endOfLeftovers(stage, progress);
  await removeFromNodes(lab);
  stage.after(() => removeFromNodes(lab));
  for (const image of images) {
    for (const way of ways) {
      progress(`pushing ${image.megabytes} MB for ${way}`);
      await lab.pushImage({
        repository: REPOSITORY,
        tag: tagOf(image, way),
        base: 'busybox',
        megabytes: image.megabytes,
      });
    }
  }
  const gate = await startGate(lab);
  stage.after(() => gate.stop());
  const gated = await createNamespace(stage, lab, api, { [MODE_LABEL]: 'pause' });
  const plain = await createNamespace(stage, lab, api, {});
  const observer = await observe(api, LABEL);
  stage.after(() => observer.stop());
  const { arrivals, follow, stop } = imageArrivals(lab);
  stage.after(stop);
  for (const node of lab.nodes()) follow(node);
  const set: Set = {
    stage,
    observer,
    arrivals,
    namespaces: { gate: gated, DaemonSet: plain, Jobs: plain, none: plain },
  };

  const runs: Run[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, image] of images.entries()) {
      // Another one first each time: whoever comes first finds the machine's caches as the push has left them.
      const order = ways.map((_, place) => ways[(round + index + place) % ways.length] ?? 'gate');
      for (const way of order) {
        progress(`${image.megabytes} MB, ${image.registry}: ${way}, ${round + 1} of ${rounds}`);
        runs.push(await upgrade(set, image, way, round));
      }
    }
  }
  return { ...conclude(images, runs), versions: await labVersions(stage) };
}

async function upgrade(set: Set, heavy: HeavyImage, way: Way, round: number): Promise<Run> {
  const { stage, observer } = set;
  const { lab } = stage;
  const { timeline, now } = observer;
  const namespace = set.namespaces[way];
  const name = `${way.toLowerCase()}-${heavy.registry}-${heavy.megabytes}-${round}`;
  const registry = heavy.registry === 'fast' ? lab.registry : lab.slowRegistry;
  const image = `${registry}/${REPOSITORY}:${tagOf(heavy, way)}`;
  const rolledOut = async (to: string): Promise<Rollout & { readonly completeAt: number }> => {
    const seen = await until(
      `${name} runs ${to}`,
      PATIENCE_SECONDS,
      () => timeline.rollout(namespace.name, name, to),
      (rollout) => rollout?.completeAt !== undefined,
    );
    assert.ok(seen?.completeAt !== undefined);
    return { ...seen, completeAt: seen.completeAt };
  };

  await namespace.apply(deployment(name, PAUSE_IMAGE));
  await rolledOut(PAUSE_IMAGE);
  const from = now();
  const takeAway = await preload(namespace, way, name, image);
  const preloaded = now();
  await namespace.kubectl('set', 'image', `deployment/${name}`, `app=${image}`);
  const rollout = await rolledOut(image);
  assert.equal(rollout.wasHeld, way === 'gate', `${name}: held or not`);
  const pulls = await pullsOf(namespace, image, way === 'none' ? 1 : lab.nodes().length);
  const last = set.arrivals.findLast((one) => one.image === image);
  const arrivedAt = ((last?.at ?? Number.NaN) - performance.timeOrigin) / 1000;
  const lastPull = pulls.find(({ node }) => node === last?.node)?.seconds ?? Number.NaN;
  const releasedAt = rollout.releasedAt ?? Number.NaN;
  const result: Run = {
    way,
    image: heavy,
    slowestPull: Math.max(...pulls.map(({ seconds }) => seconds)),
    preload: (rollout.releasedAt ?? preloaded) - from,
    held: releasedAt - rollout.askedAt,
    beforePull: arrivedAt - lastPull - rollout.askedAt,
    afterPull: releasedAt - arrivedAt,
    podStart: Math.max(...timeline.starts(namespace.name, name, image).map(({ seconds }) => seconds)),
    withoutReadyPod: timeline.secondsWithoutReadyPod(namespace.name, name, from, now()),
    total: rollout.completeAt - from,
  };
  await takeAway();
  await namespace.kubectl('delete', 'deployment', name, '--wait=true');
  // The next round pulls the same image.
  await namespace.kubectl('delete', 'events', '--all');
  await removeFromNodes(lab);
  return result;
}

/** Until every node has it, if this way does that before the rollout; returns how to take away what it took. */
async function preload(
  namespace: Namespace,
  way: Way,
  name: string,
  image: string,
): Promise<() => Promise<unknown>> {
  const timeout = `--timeout=${PATIENCE_SECONDS}s`;
  if (way === 'DaemonSet') {
    await namespace.apply(prepullDaemonSet(name, image));
    await namespace.kubectl('rollout', 'status', `daemonset/${name}`, timeout);
    return () => namespace.kubectl('delete', 'daemonset', name);
  }
  if (way === 'Jobs') {
    const selector = `--selector=prepull=${name}`;
    await namespace.apply(prepullJobs(name, image, namespace.lab.nodes()));
    await namespace.kubectl('wait', '--for=condition=Complete', 'jobs', selector, timeout);
    return () => namespace.kubectl('delete', 'jobs', selector);
  }
  return async () => undefined;
}

/** The kubelets' own words, of so many nodes at least: events come a little later than what they tell of. */
function pullsOf(namespace: Namespace, image: string, nodes: number): Promise<Pull[]> {
  const path = `/api/v1/namespaces/${namespace.name}/events`;
  return until(
    `${nodes} nodes tell of their pull of ${image}`,
    20,
    async () => kubeletPulls(await namespace.api.get(path, { fieldSelector: 'reason=Pulled' }), image),
    (pulls) => new Set(pulls.map(({ node }) => node)).size >= nodes,
  );
}

interface Times extends Omit<Run, 'way' | 'image'> {
  readonly heldLessPull: number;
}

function heldLessPull({ held, slowestPull }: Run): number {
  return held - slowestPull;
}

/** Of all rounds, time by time. */
function medianOf(runs: readonly Run[]): Times | undefined {
  if (runs.length === 0) return undefined;
  const of = (key: keyof Omit<Run, 'way' | 'image'>) => median(runs.map((run) => run[key]));
  return {
    slowestPull: of('slowestPull'),
    preload: of('preload'),
    held: of('held'),
    heldLessPull: median(runs.map(heldLessPull)),
    beforePull: of('beforePull'),
    afterPull: of('afterPull'),
    podStart: of('podStart'),
    withoutReadyPod: of('withoutReadyPod'),
    total: of('total'),
  };
}

function conclude(images: readonly HeavyImage[], runs: readonly Run[]): Measured {
  const all = (image: HeavyImage, way: Way) => runs.filter((one) => one.way === way && one.image === image);
  const of = (image: HeavyImage, way: Way) => medianOf(all(image, way));
  const worst = (value: (gate: Times, image: HeavyImage) => number | undefined) => {
    const values = images.flatMap((image) => {
      const gate = of(image, 'gate');
      return gate === undefined ? [] : (value(gate, image) ?? []);
    });
    return values.length === 0 ? undefined : rounded(Math.max(...values));
  };
  const overWay = (way: Way) =>
    worst((gate, image) => {
      const other = of(image, way);
      return other && gate.preload / other.preload;
    });
  const overDaemonSets = images.flatMap((image) => {
    const [gate, other] = [of(image, 'gate'), of(image, 'DaemonSet')];
    return gate && other ? [gate.preload / other.preload] : [];
  });
  // Where it matters.
  const longest = images.toSorted((a, b) => (of(b, 'gate')?.held ?? 0) - (of(a, 'gate')?.held ?? 0))[0];
  const [gate, none] = longest === undefined ? [] : [of(longest, 'gate'), of(longest, 'none')];
  const gated = runs.filter(({ way }) => way === 'gate').map(heldLessPull);
  const ratios = {
    overheadSeconds: worst((gate) => gate.heldLessPull),
    overheadMedianSeconds: rounded(median(gated)),
    overheadMostSeconds: rounded(Math.max(...gated)),
    overDaemonSet: overWay('DaemonSet'),
    overJobs: overWay('Jobs'),
    leastOverDaemonSet: rounded(Math.min(...overDaemonSets)),
    startWithoutOverWith: gate && none && rounded(none.podStart / gate.podStart),
    downWithoutOverWith: gate && none && rounded(none.withoutReadyPod / gate.withoutReadyPod),
  };
  return {
    rows: images.flatMap((image) =>
      WAYS.flatMap((way) => {
        const times = of(image, way);
        return times === undefined ? [] : [rowOf(image, way, times, all(image, way).length)];
      }),
    ),
    ratios: Object.fromEntries(
      Object.entries(ratios).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    ),
    notes: NOTES,
  };
}

const NOTES = [
  'A Deployment of one replica, strategy Recreate. Slow: the registry sends about 10 MB/s on each connection. Fast: as fast as the machine can. All times are in seconds and are medians of the rounds.',
  'preload is the time from the first command until the rollout may begin: until the release for Pullgate, until `kubectl rollout status` returns for the DaemonSet, and until `kubectl wait` returns for the Jobs. podStart and withoutReadyPod are of the rollout itself. total is the time from the first command until the rollout is complete. LessPull means minus the slowest pull, in seconds.',
  'heldLessPull is the time of the hold minus the time that the slowest kubelet pulled. overheadSeconds is its median for the worst image. overheadMedianSeconds and overheadMostSeconds are of all rounds of all images. overDaemonSet and overJobs are for the worst image. startWithoutOverWith and downWithoutOverWith are for the longest pull.',
  'leastOverDaemonSet is for the best image. In about one of five rounds, a kubelet takes 0.7 to 1.9 s longer to start a pod that has requests and limits, as puller pods do. The same happens without Pullgate to plain pods with the same resources (13 of 78), and happened to none of 7 pods without resources.',
  'beforePull and afterPull are of the node that finished last, according to its containerd. beforePull is the time before its pull: for the ImagePreload, the pod and its sandbox. afterPull is the time from the end of its pull to the release: the container is created and fails, the kubelet notices that (it looks once a second) and reports it, and Pullgate releases.',
  'The Jobs represent tools that preload with one Job for each node. No such tool was run. For the DaemonSet and the Jobs, the image must contain /bin/true. For Pullgate, it needs nothing.',
];

function rowOf(image: HeavyImage, way: Way, times: Times, rounds: number): Row {
  const { slowestPull, preload, held, beforePull, afterPull } = times;
  const ofGate = (value: number) => (way === 'gate' ? rounded(value) : '');
  const ofPreload = (value: number) => (way === 'none' ? '' : rounded(value));
  return {
    image: `${image.megabytes} MB, ${image.registry}`,
    way,
    rounds,
    slowestPull: rounded(slowestPull),
    preload: ofPreload(preload),
    preloadLessPull: ofPreload(preload - slowestPull),
    held: ofGate(held),
    heldLessPull: ofGate(times.heldLessPull),
    beforePull: ofGate(beforePull),
    afterPull: ofGate(afterPull),
    podStart: rounded(times.podStart),
    withoutReadyPod: rounded(times.withoutReadyPod),
    total: rounded(times.total),
  };
}

function tagOf({ megabytes, registry }: HeavyImage, way: Way): string {
  return `${way.toLowerCase()}-${registry}-${megabytes}`;
}

/**
 * Containers of a run that was broken off keep the layers that the next one is to pull, as its images are the same. Their
 * namespaces go; until the last container has gone, too, nothing is measured.
 */
async function endOfLeftovers({ lab, api }: Stage, progress: Progress): Promise<void> {
  const pods = asArray(at(await api.get('/api/v1/pods'), 'items'));
  const left = pods.filter((pod) =>
    asArray(at(pod, 'spec', 'containers')).some((one) => asString(at(one, 'image'))?.includes(IN_REPOSITORY)),
  );
  for (const namespace of new Set(left.map((pod) => asString(at(pod, 'metadata', 'namespace')) ?? ''))) {
    progress(`deleting namespace ${namespace}: an earlier run has left it`);
    await api.delete(`/api/v1/namespaces/${namespace}`);
  }
  for (const node of lab.nodes()) {
    await until(
      `no container on ${node} has an image of an earlier run`,
      PATIENCE_SECONDS,
      async () =>
        (await listed(lab, node, 'containers')).filter(([, image]) => image?.includes(IN_REPOSITORY)),
      ({ length }) => length === 0,
    );
  }
}

/** The lines of a table of `ctr`, in words. */
async function listed(lab: Lab, node: string, what: 'containers' | 'images'): Promise<string[][]> {
  return (await lab.ctr(node, what, 'ls')).split('\n').map((line) => line.split(/\s+/));
}

/** Under its tag, and under the digest and the id that the runtime keeps besides: all name the same manifest. */
async function removeFromNodes(lab: Lab): Promise<void> {
  for (const node of lab.nodes()) {
    const images = await listed(lab, node, 'images');
    const ours = new Set(
      images.filter(([name]) => name?.includes(IN_REPOSITORY)).map(([, , digest]) => digest),
    );
    for (const [name, , digest] of images) {
      if (name !== undefined && ours.has(digest)) await lab.removeNodeImage(node, name);
    }
  }
}

function deployment(name: string, image: string): JsonObject {
  const labels = { app: name, [LABEL]: 'true' };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels },
    spec: {
      replicas: 1,
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'app', image }] },
      },
    },
  };
}
