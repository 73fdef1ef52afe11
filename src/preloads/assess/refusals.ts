import type { PreloadImage } from '../../api/image-preload.ts';
import { isDefinitive } from '../pods/failure-reasons.ts';
import type { JudgedNode } from './judged-node.ts';
import type { PullTimes } from './pull-times.ts';
import { runningSince, type Slot } from './slot.ts';

/**
 * Which images have failed for good (docs call this a final failure). A definitive answer may concern one node alone: its mirror,
 * role, proxy or platform. So a failure is final only when every node that was asked to pull the image has given a definitive
 * answer, and enough nodes were asked.
 */
export interface Refusals {
  /** Names of images whose failure is final. Only probes pull them again. */
  readonly final: ReadonlySet<string>;
  /** Nodes to ask now, regardless of the parallelism, because another node gave a definitive answer. */
  readonly witnesses: readonly { readonly node: string; readonly image: PreloadImage }[];
  /** For each final image, the one node that tries again next. */
  readonly probes: readonly Probe[];
}

export interface Probe {
  readonly node: string;
  readonly image: PreloadImage;
  /** Undefined for a node that has not been asked yet. */
  readonly slot: FailedSlot | undefined;
  /** In ms since the epoch. */
  readonly at: number;
}

export type FailedSlot = Slot & { readonly state: 'failed' };

export interface RefusalsInput {
  readonly images: readonly PreloadImage[];
  readonly nodes: readonly JudgedNode[];
  /** The same nodes, the most important first. Asked for only if some node refuses an image. */
  readonly byImportance: () => readonly JudgedNode[];
  /** Whether this pull says nothing about the image: it hangs, or its node has failed for too long. */
  readonly isOut: (slot: Slot) => boolean;
  /** Whether the preload had failed for good when it was last looked at. Then a probe that still pulls changes nothing. */
  readonly hadFailed: boolean;
  readonly times: PullTimes;
}

/** This many nodes have to agree, at least one of each architecture, because an image may be missing for one architecture only. */
const WITNESSES = 3;
/** After this many nodes, the same ones are asked in turn, because each keeps a pod whose kubelet retries from time to time. */
const MOST_ASKED = 10;

export function refusalsOf(input: RefusalsInput): Refusals {
  const final = new Set<string>();
  const witnesses: { node: string; image: PreloadImage }[] = [];
  const probes: Probe[] = [];
  const isAnyRefused = input.nodes.some(({ settled, slots }) => !settled && slots.some(isRefused));
  for (const [index, image] of isAnyRefused ? input.images.entries() : []) {
    const heard = heardOf(index, input);
    if (heard === undefined) continue;
    const further = input.hadFailed ? [] : furtherWitnesses(index, heard, input);
    witnesses.push(...further.map((node) => ({ node, image })));
    const refusing = heard.filter(({ slot }) => slot.state === 'failed' && slot.failure.definitive);
    const isUnanimous = input.hadFailed || (further.length === 0 && refusing.length === heard.length);
    if (refusing.length === 0 || !isUnanimous) continue;
    final.add(image.image);
    probes.push(...probesOf(index, image, heard, input));
  }
  return { final, witnesses, probes };
}

interface Heard {
  readonly node: JudgedNode;
  readonly slot: Slot;
}

/**
 * Returns whether the last answer of this node is definitive: about the image or its pull secret, not about the node or the
 * network.
 */
export function isRefused(slot: Slot): boolean {
  return slot.state === 'failed' && isDefinitive(slot.failure.reason);
}

/** Returns the nodes that were asked for the image, or undefined if a node has it or no node gave a definitive answer. */
function heardOf(index: number, { nodes, isOut }: RefusalsInput): readonly Heard[] | undefined {
  const heard: Heard[] = [];
  for (const node of nodes) {
    const slot = node.slots[index];
    if (slot === undefined || slot.state === 'missing') continue;
    if (slot.state === 'present' || slot.state === 'pulled') return undefined;
    if (!isOut(slot)) heard.push({ node, slot });
  }
  return heard.some(({ slot }) => isRefused(slot)) ? heard : undefined;
}

function furtherWitnesses(
  index: number,
  heard: readonly Heard[],
  { byImportance }: RefusalsInput,
): readonly string[] {
  const archs = new Set(heard.map(({ node }) => archOf(node)));
  const missing = byImportance().filter(({ slots }) => slots[index]?.state === 'missing');
  const chosen: JudgedNode[] = [];
  for (const node of missing) {
    if (archs.has(archOf(node))) continue;
    archs.add(archOf(node));
    chosen.push(node);
  }
  for (const node of missing) {
    if (heard.length + chosen.length >= WITNESSES) break;
    if (!chosen.includes(node)) chosen.push(node);
  }
  return chosen.map(({ node }) => node.name);
}

function archOf({ node }: JudgedNode): string {
  return node.labels['kubernetes.io/arch'] ?? '';
}

/**
 * Returns the node to ask again and when: soon at first, then less and less often, in proportion to the time since the first
 * answer. Each time it is a different node, because the cause may be the node itself.
 */
function probesOf(
  index: number,
  image: PreloadImage,
  heard: readonly Heard[],
  { byImportance, times }: RefusalsInput,
): Probe[] {
  if (heard.some(({ slot }) => runningSince(slot) !== undefined)) return [];
  const failed = heard.flatMap(({ node, slot }) =>
    slot.state === 'failed' ? [{ node: node.node.name, slot }] : [],
  );
  const doubted = failed.find(({ slot }) => slot.isDoubted);
  if (doubted?.slot.retryAt !== undefined) return [{ ...doubted, image, at: doubted.slot.retryAt }];
  const first = Math.min(...failed.map(({ slot }) => slot.firstAttemptAt));
  const last = Math.max(...failed.map(({ slot }) => slot.askedAt));
  const at = last + Math.min(Math.max(last - first, times.backoffMs), times.backoffLimitMs);
  const unasked =
    heard.length < MOST_ASKED
      ? byImportance().find(({ slots }) => slots[index]?.state === 'missing')
      : undefined;
  if (unasked !== undefined) return [{ node: unasked.node.name, image, slot: undefined, at }];
  const longestAgo = failed.reduce((a, b) => (b.slot.askedAt < a.slot.askedAt ? b : a));
  return [{ ...longestAgo, image, at }];
}
