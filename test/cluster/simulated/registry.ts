import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { systemClock, wait } from '../../../src/clock.ts';

/** What who pulls an image gets. */
export type Answer =
  /** `digest`: by default one that is the image's own. */
  | { readonly seconds: number; readonly digest?: string }
  /** In the words of who could not be asked, or would not answer. */
  | { readonly fails: string; readonly seconds?: number }
  /** Until it gets another answer. */
  | { readonly hangs: true };

/** Where the kubelet of a node pulls. */
export interface Registry {
  /**
   * @param known the digest that the node has under that name: its layers need not come again
   * @returns the digest
   * @throws PullFailed
   */
  pull(image: string, node: string, known: string | undefined, signal: AbortSignal): Promise<string>;
}

/** The one registry of a test's nodes, with a script for each image. What has none does not exist. */
export interface ScriptedRegistry extends Registry {
  /**
   * From now on, for those pulls too that hang. Named nodes have their own answer until they get another one.
   */
  answer(image: string, answer: Answer, ...nodes: string[]): void;
}

export class PullFailed extends Error {
  /** What the container waits for, as the kubelet calls it. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

export function createRegistry(): ScriptedRegistry {
  const answers = new Map<string, Answer>();
  const changes = new EventEmitter().setMaxListeners(0);
  const keyOf = (image: string, node = '') => `${node} ${image}`;
  return {
    answer(image, answer, ...nodes) {
      if (nodes.length === 0) answers.set(keyOf(image), answer);
      for (const node of nodes) answers.set(keyOf(image, node), answer);
      changes.emit('change');
    },
    async pull(image, node, known, signal) {
      const { fails, seconds = 0, digest = digestOf(image) } = await answerTo(image, node, signal);
      if (fails !== undefined || digest !== known) await wait(systemClock, seconds * 1000, signal);
      if (fails !== undefined) throw new PullFailed('ErrImagePull', failed(image, fails));
      return digest;
    },
  };

  async function answerTo(image: string, node: string, signal: AbortSignal): Promise<Given> {
    for (;;) {
      const answer = answers.get(keyOf(image, node)) ?? answers.get(keyOf(image));
      if (answer === undefined) throw new PullFailed('ErrImagePull', notFound(image));
      if (!('hangs' in answer)) return answer;
      await once(changes, 'change', { signal });
    }
  }
}

interface Given {
  readonly seconds?: number;
  readonly digest?: string;
  readonly fails?: string;
}

export function digestOf(content: string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** As containerd 1.6 says it, and kubelets pass it on. */
export function failed(image: string, words: string, code = 'Unknown'): string {
  return `rpc error: code = ${code} desc = failed to pull and unpack image "${image}": failed to resolve reference "${image}": ${words}`;
}

export function notFound(image: string): string {
  return failed(image, `${image}: not found`, 'NotFound');
}
