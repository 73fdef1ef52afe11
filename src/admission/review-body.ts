import type { IncomingMessage } from 'node:http';
import { GateError } from '../errors.ts';
import type { Charge } from './memory-budget.ts';

/** The old and the new object have at most 3 MB each (the API server's limit for a write), and the rest 1 MB. */
export const BODY_LIMIT = 7 * 1024 * 1024;
/**
 * The most values of a body that is larger than SCANNED_BYTES. An object of 1.5 MB, etcd's limit, that exceeds it consists of empty
 * lists or keys. JSON of 3 bytes a value (`{},`) takes 21 times its size in memory, and over a second to parse.
 */
const VALUES_LIMIT = 500_000;
/** A smaller body takes at most 21 MB and 100 ms to parse, so its values are not counted. */
const SCANNED_BYTES = 1024 * 1024;

/** Returns the most memory that a parsed body can take: 21 times its size, or 64 bytes for each of its values. */
export function parsedBytes(bodyBytes: number): number {
  return Math.min(21 * bodyBytes, 64 * VALUES_LIMIT);
}

/**
 * Reads the body of a request within the budget. If there is no room for the body, it is read and dropped, because an answer before
 * the end of the request might not reach the caller.
 * @throws GateError PG_BUSY, PG_BODY_TOO_LARGE, PG_BODY_NOT_JSON, PG_BODY_VALUES
 */
export async function readReviewBody(request: IncomingMessage, charge: Charge): Promise<Buffer> {
  const length = request.headers['content-length'];
  const announced = length === undefined ? undefined : Number(length);
  if (announced !== undefined && announced > BODY_LIMIT) throw tooLarge();
  const body = await receive(request, charge, announced);
  if (body.length > SCANNED_BYTES && countValues(body) > VALUES_LIMIT)
    throw new GateError('PG_BODY_VALUES', { limit: VALUES_LIMIT });
  return body;
}

function receive(request: IncomingMessage, charge: Charge, announced: number | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let hasRoom = announced === undefined || charge.add(announced);
    const drop = () => {
      hasRoom = false;
      chunks.length = 0;
      charge.end();
    };
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > BODY_LIMIT) {
        drop();
        reject(tooLarge());
      } else if (hasRoom && announced === undefined && !charge.add(chunk.length)) drop();
      if (hasRoom) chunks.push(chunk);
    });
    request.once('end', () => {
      if (hasRoom) resolve(Buffer.concat(chunks, bytes));
      else reject(new GateError('PG_BUSY', {}));
    });
    request.once('error', (error) => reject(new GateError('PG_BODY_NOT_JSON', { detail: error.message })));
  });
}

function tooLarge(): GateError {
  return new GateError('PG_BODY_TOO_LARGE', { limit: BODY_LIMIT });
}

const [QUOTE, BACKSLASH, COMMA, LIST, OBJECT] = Buffer.from('"\\,[{');

/** Returns at least the number of values; any number if the text is not JSON. */
function countValues(json: Buffer): number {
  let count = 0;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at];
    if (byte === COMMA || byte === LIST || byte === OBJECT) count += 1;
    else if (byte === QUOTE) at = endOfString(json, at);
  }
  return count;
}

function endOfString(json: Buffer, start: number): number {
  for (let at = start + 1; at < json.length; at += 1) {
    const byte = json[at];
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) return at;
  }
  return json.length;
}
