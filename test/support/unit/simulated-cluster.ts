import type { ImagePreload, PreloadImage } from '../../../src/api/image-preload.ts';
import { type Assessment, assess } from '../../../src/preloads/assess/assess.ts';
import { parallelNodes } from '../../../src/preloads/assess/wanted-pulls.ts';
import { isDefinitive } from '../../../src/preloads/pods/failure-reasons.ts';
import { preloadStatus } from '../../../src/preloads/preload-status.ts';
import {
  at,
  DENIED,
  NOT_FOUND,
  node,
  type PullerBuilder,
  puller,
  REFUSED,
  situation,
} from './preload-builder.ts';

/** How a node's pulls end, each time. */
export type Pull =
  | { readonly end: 'pulled' | 'refused connection' | 'rejected'; readonly seconds: number }
  | { readonly end: 'never' };

export interface SimulatedNode {
  readonly joins: number;
  readonly leaves: number;
  /** By attempt; the last one is repeated. */
  readonly pulls: readonly Pull[];
}

export interface SimulatedCluster {
  readonly preload: ImagePreload;
  readonly nodes: readonly SimulatedNode[];
  /** When the registry begins to have the images; what it says before. */
  readonly published: number;
  readonly until: 'not found' | 'denied';
}

interface Running {
  readonly pod: PullerBuilder;
  readonly image: PreloadImage;
  readonly began: number;
  readonly ends: number;
}

export interface Moment {
  readonly seconds: number;
  readonly assessment: Assessment;
  readonly eligible: number;
  /** Nodes with a pull under way that is not out of time, after what was wanted began. */
  readonly pullingNodes: number;
  readonly limit: number;
  readonly started: number;
  /** Whether a registry has refused an image so far. Nodes that were asked as witnesses pull on after another one gets it. */
  readonly refused: boolean;
  /** Whether anything will happen in the cluster by itself. */
  readonly moving: boolean;
  /** Names of nodes that have every image. */
  readonly complete: ReadonlySet<string>;
}

/** Lives through it in virtual time, from one thing that happens to the next. Nothing is remembered between two looks. */
export function* live(cluster: SimulatedCluster, untilSeconds: number): Generator<Moment> {
  const { preload, nodes } = cluster;
  let pods: PullerBuilder[] = [];
  let running: Running[] = [];
  let started = 0;
  let refused = false;
  let noNodesSince: number | undefined;
  let seconds = 0;

  const here = (index: number) => {
    const { joins, leaves } = nodes[index] ?? { joins: 0, leaves: 0 };
    return joins <= seconds && seconds < leaves;
  };

  function pullOf(name: string, attempt: number): Pull {
    const script = nodes[Number(name)]?.pulls ?? [];
    return script[Math.min(attempt, script.length) - 1] ?? { end: 'never' };
  }

  function settle(pull: Running): void {
    const { pod } = pull.pod;
    const { end } = pullOf(pod.node, pod.attempt);
    const failing = end === 'refused connection' ? REFUSED : cluster.until === 'denied' ? DENIED : NOT_FOUND;
    const is = (other: PullerBuilder) => other.pod.uid === pod.uid;
    const outcome = (of: PullerBuilder): PullerBuilder => {
      if (end === 'rejected') return of.rejected('OutOfpods', 'Node has no room');
      if (end === 'pulled' && pull.ends >= cluster.published) return of.pulled(pull.ends);
      return of.failing(failing);
    };
    pods = pods.map((other) => (is(other) ? outcome(other) : other));
  }

  let known = preload;
  while (seconds <= untilSeconds) {
    for (const pull of running.filter(({ ends }) => ends <= seconds)) settle(pull);
    running = running.filter(({ ends }) => ends > seconds);
    running = running.filter(({ pod }) => here(Number(pod.pod.node)));
    pods = pods.filter(({ pod }) => here(Number(pod.node)));
    const eligible = nodes.flatMap(({ joins }, index) =>
      here(index) ? [node(String(index), { createdAt: at(joins) })] : [],
    );
    noNodesSince = eligible.length === 0 ? (noNodesSince ?? seconds) : undefined;

    const given = { preload: known, nodes: eligible, pods, now: seconds };
    const assessment = assess(
      situation(noNodesSince === undefined ? given : { ...given, noNodesSince: noNodesSince }),
    );
    const { plan, progress } = assessment;
    refused ||= progress.failures.some(({ reason }) => isDefinitive(reason));
    const status = preloadStatus({ preload: known, assessment, activity: 'holding', now: at(seconds) });
    known = { ...preload, status };
    for (const gone of plan.remove) pods = pods.filter(({ pod }) => pod.uid !== gone.uid);
    for (const { node: name, image, attempt, firstAttemptAt } of plan.wanted) {
      const pull = pullOf(name, attempt);
      const ends = pull.end === 'never' ? Number.POSITIVE_INFINITY : seconds + pull.seconds;
      const pod = puller(name)
        .attempt(attempt, seconds)
        .image(image.image)
        .with({ firstAttemptAt, uid: `${name} ${image.image} ${attempt} ${seconds}` });
      pods = [...pods, pod];
      running.push({ pod, image, began: seconds, ends });
      started += 1;
    }

    const timeout = preload.spec.nodeTimeoutSeconds;
    const pullingNodes = new Set(
      running.filter(({ began }) => seconds < began + timeout).map(({ pod }) => pod.pod.node),
    ).size;
    const events = [
      ...running.map(({ ends }) => ends),
      ...nodes.flatMap(({ joins, leaves }) => [joins, leaves]),
    ].filter((time) => time > seconds && Number.isFinite(time));
    const has = (name: string, { image }: PreloadImage) =>
      pods.some(({ pod }) => pod.node === name && pod.pull === image && pod.container?.imageID);
    const complete = eligible.filter(({ name }) => preload.spec.images.every((image) => has(name, image)));
    yield {
      seconds,
      assessment,
      eligible: eligible.length,
      pullingNodes,
      limit: parallelNodes(preload, eligible.length),
      started,
      refused,
      moving: events.length > 0,
      complete: new Set(complete.map(({ name }) => name)),
    };
    const wake = plan.wakeAt === undefined ? [] : [(plan.wakeAt - at(0)) / 1000];
    // The watch shows each new pod, and that is a reason to look again.
    if (plan.wanted.length === 0) seconds = Math.min(...events, ...wake);
  }
}
