import { type DigestNodes, NAMED_NODES } from '../../api/image-preload.ts';

/** What one node got, with the node's architecture and the runtime's name of the image. */
export interface PulledImage {
  readonly node: string;
  readonly arch: string;
  readonly imageID: string;
}

/**
 * The digests of an image that is not the same on all nodes, the most frequent first; empty if it is. Only what was pulled
 * from a registry can be compared: of an image that was loaded on a node by hand, the runtime has another kind of digest.
 */
export function divergence(pulled: readonly PulledImage[]): DigestNodes[] {
  const nodes = new Map<string, string[]>();
  const byArch = new Map<string, string>();
  let diverged = false;
  for (const { node, arch, imageID } of pulled) {
    const digest = /@(sha256:[0-9a-f]{64})/.exec(imageID)?.[1];
    if (digest === undefined) continue;
    const there = nodes.get(digest);
    if (there === undefined) nodes.set(digest, [node]);
    else there.push(node);
    // Of a multi-arch image containerd and Docker name the index, which is the same everywhere; CRI-O may name the
    // manifest of the node's architecture (cri-o#9615).
    if ((byArch.get(arch) ?? digest) !== digest) diverged = true;
    byArch.set(arch, digest);
  }
  if (!diverged) return [];
  return [...nodes]
    .map(([digest, names]) => ({
      digest,
      count: names.length,
      nodes: names.toSorted().slice(0, NAMED_NODES),
    }))
    .sort((a, b) => b.count - a.count || (a.digest < b.digest ? -1 : 1));
}

/** With three named nodes each it is some hundred characters; more digests than that are in the status. */
const NAMED_DIGESTS = 5;
/** Of `sha256:` and 64 digits; as many as docker shows of an id. */
const SHORT_DIGEST = 'sha256:'.length + 12;

export function describeDivergence(image: string, digests: readonly DigestNodes[]): string {
  const parts = digests.slice(0, NAMED_DIGESTS).map(({ digest, count, nodes }) => {
    const more = count > nodes.length ? ` and ${count - nodes.length} more` : '';
    return `${digest.slice(0, SHORT_DIGEST)} on ${nodes.join(', ')}${more}`;
  });
  const rest = digests.length - parts.length;
  const others = rest > 0 ? `; and ${rest} other${rest === 1 ? '' : 's'}` : '';
  return `${image} is not the same on all nodes: ${parts.join('; ')}${others}`;
}
