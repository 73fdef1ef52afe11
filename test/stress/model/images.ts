import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import type { Answer } from '../../cluster/simulated/registry.ts';

/** The tags that a sequence uses, and what the registry says at first; none: there is no such tag yet. */
const TAGS: Readonly<Record<string, Answer | undefined>> = {
  quick: { seconds: 0.3 },
  other: { seconds: 0.6 },
  slow: { seconds: 2.5 },
  slower: { seconds: 3.5 },
  crawling: { seconds: 5 },
  endless: { hangs: true },
  late: undefined,
  later: undefined,
};

/** Runs at first, and every node has it. */
export const RUNNING = 'running';
export const IMAGES: readonly string[] = [RUNNING, ...Object.keys(TAGS)];
/** Those that come from the registry. */
export const PULLED: readonly string[] = Object.keys(TAGS);
export const LATE: readonly string[] = PULLED.filter((tag) => TAGS[tag] === undefined);

/** Its full name: no node has another namespace's. */
export function referenceOf(namespace: string, tag: string): string {
  return tag === RUNNING ? PAUSE_IMAGE : `registry.test/${namespace}:${tag}`;
}

export function answerOf(tag: string): Answer | undefined {
  return TAGS[tag];
}

/** Words that say nothing of the image. */
export const BROKEN: Answer = {
  fails:
    'failed to do request: Head "http://registry.test/v2/app/manifests/2": dial tcp 10.0.0.9:80: connect: connection refused',
};
/** What is slow on most nodes is quick on the first: for some time only that one is ready. */
export const UNEVEN = 'crawling';
export const PUSHED: Answer = { seconds: 0.3 };
