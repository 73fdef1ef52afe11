import { createReadStream } from 'node:fs';
import { IMAGE_PATTERN } from './workload.ts';

/** Names do not fall between two pieces: the longest is shorter. */
const LONGEST_NAME = 200;

/**
 * Which of the soak's images a heap snapshot has in any string. Each hold is for an image of its own: whatever is kept of
 * a hold that is over shows here, to the last object, where the size of a heap would not tell.
 */
export async function rememberedImages(snapshot: string): Promise<Set<string>> {
  const found = new Set<string>();
  let end = '';
  for await (const piece of createReadStream(snapshot, { encoding: 'latin1' })) {
    const text = end + String(piece);
    for (const [image] of text.matchAll(IMAGE_PATTERN)) found.add(image);
    end = text.slice(-LONGEST_NAME);
  }
  return found;
}
