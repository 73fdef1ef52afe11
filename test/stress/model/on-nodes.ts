import { asArray, asString, asStringMap, at, type JsonObject, at as read } from '../../../src/json.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import { GROUP_LABEL } from '../../cluster/simulated/node-object.ts';
import type { History, Span } from './history.ts';

/** On a node, it keeps the workloads of these tests away. */
export const POOL_LABEL = 'sim.pullgate.io/pool';

/** The gate's and the tester's knowledge of the nodes and the time may differ by so much: each gathers changes for a second. */
export const SLACK_MS = 3000;
/** Times in objects are cut to the second, and puller pods are heard of some ms after they were made. */
const CUT_MS = 1700;

export interface NeededImage {
  readonly image: string;
  /** Policy Always: a pull counts only if it began after this. Undefined: it has only to be there. */
  readonly since: number | undefined;
}

/** What a release needs. */
export interface Need {
  readonly images: readonly NeededImage[];
  /** Counts or percentages, as on the Deployment: one of them. */
  readonly minNodes: readonly string[];
  readonly deadlineSeconds: number;
  /** When the preload can have begun at the earliest. */
  readonly began: number;
}

/**
 * Why a rollout may not have been let go at that time; undefined if it may: on enough of the nodes then eligible the images
 * were there, the deadline had passed with one of them ready, or there had been no node for long enough.
 */
export function whyNotYet(history: History, need: Need, at: number): string | undefined {
  const seen: string[] = [];
  for (const nodes of eligibleDuring(history, { from: at - SLACK_MS, to: at })) {
    const why = whyNotOn(history, need, at, nodes);
    if (why === undefined) return undefined;
    seen.push(why);
  }
  const { noNodesMs } = history.times;
  const longBefore = { from: at - noNodesMs + CUT_MS, to: at - CUT_MS };
  if (eligibleDuring(history, longBefore).every((nodes) => nodes.length === 0)) return undefined;
  return [...new Set(seen)].join('; ');
}

function whyNotOn(history: History, need: Need, at: number, nodes: readonly string[]): string | undefined {
  const { deadlineSeconds } = need;
  const readyAt = new Map(nodes.map((node) => [node, nodeReadyAt(history, need, node)]));
  const ready = nodes.filter((node) => (readyAt.get(node) ?? Number.POSITIVE_INFINITY) <= at);
  const left = ready.length === 0 ? [] : nodes.filter((node) => hasLeft(history, need, node, at));
  const staying = nodes.filter((node) => ready.includes(node) || !left.includes(node));
  // Nodes that joined later are not waited for, unless no older one is left.
  const older = staying.filter((node) => joinedAt(history, node, at) <= need.began);
  const counted = older.length === 0 ? staying : older;
  const required = Math.max(1, Math.min(...need.minNodes.map((value) => resolve(value, counted.length))));
  if (counted.filter((node) => ready.includes(node)).length >= required) return undefined;
  const lastReady = Math.max(need.began, ...ready.map((node) => readyAt.get(node) ?? 0));
  if (ready.length > 0 && at >= lastReady + deadlineSeconds * 1000 - CUT_MS) return undefined;
  return `${ready.length} of ${counted.length} nodes had ${need.images.map(({ image }) => image).join(', ')}, ${required} needed`;
}

/** When the Node object was made that had this name at that time; infinite if there was none. */
function joinedAt({ moments }: History, node: string, at: number): number {
  const last = moments.findLast(({ kind, name, at: when }) => kind === 'Node' && name === node && when <= at);
  const made = Date.parse(asString(read(last?.object, 'metadata', 'creationTimestamp')) ?? '');
  return Number.isNaN(made) ? Number.POSITIVE_INFINITY : made;
}

function resolve(value: string, total: number): number {
  const percent = /^(\d+)%$/.exec(value)?.[1];
  const count = percent === undefined ? Number(value) : Math.ceil((total * Number(percent)) / 100);
  return Math.min(Math.max(count, 1), total);
}

/** When the node had all of them; infinite: never. */
function nodeReadyAt({ pulls }: History, { images }: Need, node: string): number {
  const times = images.map(({ image, since }) => {
    // The lab's own: there from the start.
    if (image === PAUSE_IMAGE && since === undefined) return 0;
    const good = pulls.filter(
      (pull) =>
        pull.node === node &&
        pull.image === image &&
        pull.digest !== undefined &&
        (since === undefined || (pull.preload && pull.began >= since)),
    );
    return Math.min(...good.map(({ ended }) => ended ?? Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  });
  return Math.max(0, ...times);
}

/** Whether that node, not ready itself, need not be waited for: its pull hangs, or has failed often and for long enough. */
function hasLeft({ moments, pulls, times }: History, need: Need, node: string, at: number): boolean {
  return need.images.some(({ image }) => {
    const pods = pullerPods(moments, node, image).filter(({ from }) => from <= at);
    const pullsOf = (pod: string) => pulls.filter((pull) => pull.pod === pod && pull.image === image);
    const hangs = pods.some(
      ({ name, from, to, refusedAt }) =>
        refusedAt > at &&
        to >= at - SLACK_MS &&
        from <= at - times.nodeTimeoutSeconds * 1000 + CUT_MS &&
        pullsOf(name).every(({ ended }) => ended === undefined || ended > at),
    );
    if (hangs) return true;
    const failed = pods.filter(
      ({ name, refusedAt }) =>
        refusedAt <= at ||
        pullsOf(name).some(({ ended, digest }) => ended !== undefined && ended <= at && digest === undefined),
    );
    const first = Math.min(...failed.map(({ from }) => from), Number.POSITIVE_INFINITY);
    return failed.length >= 3 && first <= at - times.givenUpAfterMs + CUT_MS;
  });
}

interface PullerLife {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  /** When its kubelet refused it; infinite: never. */
  readonly refusedAt: number;
}

function pullerPods(moments: History['moments'], node: string, image: string): PullerLife[] {
  const found = new Map<string, { -readonly [Field in keyof PullerLife]: PullerLife[Field] }>();
  for (const { kind, at: when, uid, name, object } of moments) {
    if (kind !== 'Pod') continue;
    const known = found.get(uid);
    if (object === undefined) {
      if (known !== undefined) known.to = when;
      continue;
    }
    if (known !== undefined) {
      if (at(object, 'status', 'reason') === 'OutOfpods') known.refusedAt = Math.min(known.refusedAt, when);
      continue;
    }
    if (!isPullerOf(object, node, image)) continue;
    found.set(uid, { name, from: when, to: Number.POSITIVE_INFINITY, refusedAt: Number.POSITIVE_INFINITY });
  }
  return [...found.values()];
}

function isPullerOf(pod: JsonObject, node: string, image: string): boolean {
  const spec = at(pod, 'spec');
  const container = asArray(at(spec, 'containers'))[0];
  const command = asString(asArray(at(container, 'command'))[0]) ?? '';
  return (
    at(spec, 'nodeName') === node &&
    at(container, 'image') === image &&
    command.startsWith('/pullgate-preload-only-')
  );
}

/** Each set of eligible nodes that there was at some time of the span. */
function eligibleDuring({ moments }: History, { from, to }: Span): string[][] {
  const nodes = new Map<string, JsonObject>();
  const sets: string[][] = [];
  const take = () =>
    sets.push(
      [...nodes]
        .filter(([, node]) => isEligible(node))
        .map(([name]) => name)
        .sort(),
    );
  let began = false;
  for (const moment of moments) {
    if (moment.kind !== 'Node') continue;
    if (moment.at > to) break;
    if (moment.at >= from && !began) {
      began = true;
      take();
    }
    if (moment.object === undefined) nodes.delete(moment.name);
    else nodes.set(moment.name, moment.object);
    if (began) take();
  }
  if (!began) take();
  return sets;
}

function isEligible(node: JsonObject): boolean {
  const { metadata, spec, status } = node;
  const ready = asArray(at(status, 'conditions')).find((condition) => at(condition, 'type') === 'Ready');
  return (
    at(metadata, 'deletionTimestamp') === undefined &&
    at(spec, 'unschedulable') !== true &&
    at(ready, 'status') === 'True' &&
    asStringMap(at(metadata, 'labels'))[POOL_LABEL] === undefined &&
    asArray(at(spec, 'taints')).every(
      (taint) => at(taint, 'key') === GROUP_LABEL || at(taint, 'effect') === 'PreferNoSchedule',
    )
  );
}
