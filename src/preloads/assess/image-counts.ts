import type { ImageStatus, PreloadImage } from '../../api/image-preload.ts';
import { divergence, type PulledImage } from './image-divergence.ts';
import type { JudgedNode } from './judged-node.ts';

export function countImage(image: PreloadImage, index: number, nodes: readonly JudgedNode[]): ImageStatus {
  const imageIDs = new Set<string>();
  let alreadyPresent = 0;
  let pulled = 0;
  let failed = 0;
  let slowest: ImageStatus['slowest'];
  for (const { node, slots } of nodes) {
    const slot = slots[index];
    // What a node only lists has no digest that is known.
    if (slot?.state === 'present') alreadyPresent += 1;
    if (slot?.state === 'failed') failed += 1;
    if (slot?.state !== 'pulled') continue;
    pulled += 1;
    imageIDs.add(slot.imageID);
    if (slowest === undefined || slot.seconds > slowest.seconds)
      slowest = { node: node.name, seconds: slot.seconds };
  }
  const digests = new Set([...imageIDs].flatMap((imageID) => /sha256:[0-9a-f]{64}/.exec(imageID)?.[0] ?? []));
  const digestNodes = digests.size > 1 ? divergence(pulledImages(index, nodes)) : [];
  return {
    image: image.image,
    digests: [...digests],
    ...(digestNodes.length > 0 && { digestNodes }),
    alreadyPresent,
    pulled,
    failed,
    ...(slowest !== undefined && { slowest }),
  };
}

function pulledImages(index: number, nodes: readonly JudgedNode[]): PulledImage[] {
  return nodes.flatMap(({ node, slots }) => {
    const slot = slots[index];
    if (slot?.state !== 'pulled') return [];
    return { node: node.name, arch: node.labels['kubernetes.io/arch'] ?? '', imageID: slot.imageID };
  });
}
