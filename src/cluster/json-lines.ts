const NEWLINE = 0x0a;

/**
 * The values of newline-delimited JSON. Lines are cut from bytes, so neither a line nor a character may suffer from
 * where a chunk ends. A last line without its newline was cut off on the way and is left out.
 * @throws RangeError for a line of more than `maxLineBytes`, SyntaxError for one that is not JSON
 */
export async function* jsonLines(
  chunks: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
): AsyncGenerator<unknown, void, undefined> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = Buffer.concat([...pending, chunk.subarray(start, end)]);
      check(line.length, maxLineBytes);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
      if (line.length > 0) yield JSON.parse(line.toString('utf8'));
    }
    if (start < chunk.length) {
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
      check(pendingBytes, maxLineBytes);
    }
  }
}

function check(bytes: number, maxLineBytes: number): void {
  if (bytes > maxLineBytes) throw new RangeError(`a line of more than ${maxLineBytes} bytes`);
}
