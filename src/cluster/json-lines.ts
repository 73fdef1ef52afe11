import { bounded } from './nesting.ts';

const NEWLINE = 0x0a;

/** A line that was skipped. */
export interface LongLine {
  readonly bytes: number;
  /** At most 300 bytes. */
  readonly beginning: string;
}

const BEGINNING_BYTES = 300;

/**
 * The values of newline-delimited JSON. Lines are cut from bytes, so neither a line nor a character may suffer from
 * where a chunk ends. A last line without its newline was cut off on the way and is left out. A line of more than
 * `maxLineBytes` is skipped, takes no memory beyond that, and is reported to `onLongLine`.
 * @throws SyntaxError for a line that is not JSON
 */
export async function* jsonLines(
  chunks: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
  onLongLine: (line: LongLine) => void,
): AsyncGenerator<unknown, void, undefined> {
  let pending: Uint8Array[] = [];
  let bytes = 0;

  function take(part: Uint8Array): void {
    if (part.length === 0) return;
    bytes += part.length;
    if (bytes <= maxLineBytes) pending.push(part);
    else pending = [(pending[0] ?? part).subarray(0, BEGINNING_BYTES)];
  }

  /** Ends the line, and returns it unless it is empty or too long. */
  function finish(): string | undefined {
    const line = Buffer.concat(pending).toString('utf8');
    if (bytes > maxLineBytes) onLongLine({ bytes, beginning: line });
    const isUsable = bytes > 0 && bytes <= maxLineBytes;
    pending = [];
    bytes = 0;
    return isUsable ? line : undefined;
  }

  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end));
      start = end + 1;
      const line = finish();
      // V8's parser does not recurse: no depth of nesting overflows the stack.
      if (line !== undefined) yield bounded(line, JSON.parse(line));
    }
    take(chunk.subarray(start));
  }
}
