import type { RunningTemplate } from './hold.ts';
import { normalizeImage } from './template/image-reference.ts';
import { hashOfDigest, templateDigest } from './template/template-hash.ts';
import { type ImagePullPolicy, type TemplateImage, templateImages } from './template/template-images.ts';

export function runningTemplate(template: unknown, digest = templateDigest(template)): RunningTemplate {
  const images: Record<string, string> = {};
  for (const { place, image } of templateImages(template)) images[place] = image;
  return { template: hashOfDigest(digest), digest, images };
}

/**
 * What an operator says of the cluster: its API server has the plugin AlwaysPullImages, which gives each pod the policy Always. No
 * template shows that.
 */
export interface PullRules {
  readonly alwaysPullImages?: boolean | undefined;
}

/**
 * The images of `template` that have to be pulled if it follows upon `from`: those that `from` did not have, and, as
 * the template changed at all, those whose effective policy is Always (a mutable tag restarted). Never is never
 * pulled. Each image once.
 */
export function imagesToPull(
  from: RunningTemplate,
  template: unknown,
  hash: string,
  { alwaysPullImages = false }: PullRules = {},
): TemplateImage[] {
  const had = new Set(Object.values(from.images).map(normalizeImage));
  const changed = from.template !== hash;
  const needed = new Map<string, TemplateImage>();
  for (const entry of templateImages(template)) {
    const imagePullPolicy: ImagePullPolicy = alwaysPullImages ? 'Always' : entry.imagePullPolicy;
    if (imagePullPolicy === 'Never') continue;
    const name = normalizeImage(entry.image);
    if (had.has(name) && !(changed && imagePullPolicy === 'Always')) continue;
    // One name, two policies: the stricter one is pulled as both want it.
    if (needed.get(name)?.imagePullPolicy !== 'Always') needed.set(name, { ...entry, imagePullPolicy });
  }
  return [...needed.values()];
}
