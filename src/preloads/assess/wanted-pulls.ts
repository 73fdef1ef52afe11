import { resolveCountOrPercent } from '../../api/count-or-percent.ts';
import type { ImagePreload, PreloadImage } from '../../api/image-preload.ts';
import { isDefinitive } from '../pods/failure-reasons.ts';
import type { JudgedNode } from './judged-node.ts';
import type { Probe, Refusals } from './refusals.ts';
import type { Slot } from './slot.ts';

/** A pull to start, in the order of importance. */
export interface WantedPull {
  readonly node: string;
  readonly image: PreloadImage;
  readonly attempt: number;
  readonly firstAttemptAt: number;
}

interface WantedInput {
  readonly preload: ImagePreload;
  /** See AssessInput. */
  readonly preferred: ReadonlySet<string>;
  readonly beginAt?: number;
  readonly isHanging: (slot: Slot) => boolean;
  readonly now: number;
}

/** A node that something is going on at. */
interface Asked {
  readonly name: string;
  readonly slots: readonly Slot[];
  /** Takes one of the places that parallelism gives. */
  readonly busy: boolean;
}

/** Default parallelism: this many nodes, or a tenth of them if that is more. */
const PARALLEL_NODES = 20;
const PARALLEL_SHARE = 0.1;

export function wantedPulls(
  input: WantedInput,
  nodes: readonly JudgedNode[],
  open: readonly Asked[],
  { final, witnesses, probes }: Refusals,
): WantedPull[] {
  const { images } = input.preload.spec;
  const busy = new Set(open.filter((node) => node.busy).map(({ name }) => name));
  const limit = parallelNodes(input.preload, nodes.length);
  const mayTakePlace = (node: string): boolean => busy.size < limit || busy.has(node);
  const takesPlace = (node: string): boolean => {
    if (busy.size < limit) busy.add(node);
    return busy.has(node);
  };
  // First of all, find out whether the image exists.
  const wanted: WantedPull[] = witnesses.map((pull) => ({ ...pull, attempt: 1, firstAttemptAt: input.now }));
  const asked = new Set(wanted.map(({ node, image }) => pullOn(node, image)));
  for (const { node } of wanted) busy.add(node);
  const untried = final.size > 0 ? [] : byImportance(nodes, input).filter(({ ready }) => !ready);
  // Before the retries: a node that has not been tried is the better bet.
  for (const { slots, node } of untried) {
    // Most nodes, once all places are taken.
    if (!mayTakePlace(node.name)) continue;
    for (const [index, image] of images.entries()) {
      if (slots[index]?.state !== 'missing' || asked.has(pullOn(node.name, image))) continue;
      if (takesPlace(node.name))
        wanted.push({ node: node.name, image, attempt: 1, firstAttemptAt: input.now });
    }
  }
  const due = retries(input, open, final).filter(({ at }) => at <= input.now);
  for (const { node, image, slot } of due.sort((a, b) => a.at - b.at))
    if (takesPlace(node)) wanted.push(again(node, image, slot, input.now));
  for (const { node, image, slot, at } of probes)
    if (at <= input.now) wanted.push(again(node, image, slot, input.now));
  return wanted;
}

function pullOn(node: string, { image, imagePullPolicy }: PreloadImage): string {
  return `${node} ${imagePullPolicy} ${image}`;
}

function again(node: string, image: PreloadImage, slot: Probe['slot'], now: number): WantedPull {
  return { node, image, attempt: (slot?.attempt ?? 0) + 1, firstAttemptAt: slot?.firstAttemptAt ?? now };
}

/** The failed pulls that are to be tried again, but for what is refused everywhere: that has its probes. */
export function retries(input: WantedInput, open: readonly Asked[], final: ReadonlySet<string>): Probe[] {
  return input.preload.spec.images.flatMap((image, index) =>
    open.flatMap(({ name, slots }) => {
      const slot = slots[index];
      if (slot?.state !== 'failed' || slot.retryAt === undefined || input.isHanging(slot)) return [];
      if (final.has(image.image) && isDefinitive(slot.failure.reason)) return [];
      return [{ node: name, image, slot, at: slot.retryAt }];
    }),
  );
}

/** How many of `total` nodes may pull at a time for this preload. */
export function parallelNodes({ spec }: ImagePreload, total: number): number {
  if (spec.parallelism !== undefined) return Math.max(1, resolveCountOrPercent(spec.parallelism, total));
  return Math.max(PARALLEL_NODES, Math.ceil(total * PARALLEL_SHARE));
}

export function byImportance(
  nodes: readonly JudgedNode[],
  { preferred, beginAt = 0 }: Pick<WantedInput, 'preferred' | 'beginAt'>,
): readonly JudgedNode[] {
  const first = nodes.filter(({ node }) => preferred.has(node.name));
  const rest = nodes.filter(({ node }) => !preferred.has(node.name));
  const begin = rest.length === 0 ? 0 : beginAt % rest.length;
  return [...first, ...rest.slice(begin), ...rest.slice(0, begin)];
}
