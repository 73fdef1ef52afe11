import type { Clock } from '../clock.ts';
import { createLimiter } from '../limiter.ts';

export interface AnswerTextOptions {
  /** Reading stops after so many bytes. */
  readonly maxBytes: number;
  /** Called with the length of the text. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Whose answer it is. Undefined for calls about the whole cluster, which do not wait: there is one at a time for each collection. */
  readonly namespace: string | undefined;
  readonly signal: AbortSignal;
}

/** Reads the texts of answers, and few large ones at a time. */
export interface AnswerTexts {
  /** Returns the text of an answer; undefined if it has more than `maxBytes`. Rejects with the signal's reason if that is aborted. */
  read(body: AsyncIterable<Uint8Array>, options: AnswerTextOptions): Promise<string | undefined>;
}

/** Most objects have less. 64 calls about namespaces at a time have 16 MiB together. */
const LARGE_BYTES = 256 * 1024;
/**
 * The rest of a larger answer stays in the connection until it is its turn. Users can make objects with 9 MB of JSON (object-size.ts),
 * and one namespace has up to 32 calls at a time.
 */
const LARGE_AT_A_TIME = 4;

export function createAnswerTexts(clock: Pick<Clock, 'monotonic'>): AnswerTexts {
  const inTurn = createLimiter(LARGE_AT_A_TIME, clock, false);
  return {
    async read(body, { maxBytes, onBytes, namespace, signal }) {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      const unread = body[Symbol.asyncIterator]();
      /** Returns whether there may be more. */
      async function readTo(limit: number): Promise<boolean> {
        while (bytes <= limit) {
          const { done, value } = await unread.next();
          if (done === true) return false;
          bytes += value.length;
          chunks.push(value);
        }
        return true;
      }
      try {
        let isLonger = await readTo(Math.min(LARGE_BYTES, maxBytes));
        if (isLonger && bytes <= maxBytes) {
          const readRest = () => readTo(maxBytes);
          isLonger = await (namespace === undefined ? readRest() : inTurn(namespace, readRest, signal));
        }
        if (isLonger) return undefined;
      } finally {
        // Closes the connection unless the answer has ended.
        await unread.return?.();
      }
      onBytes?.(bytes);
      return Buffer.concat(chunks).toString('utf8');
    },
  };
}
