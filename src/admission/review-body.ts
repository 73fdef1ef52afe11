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

/**
 * The most bytes that are read of a review that is to be denied. An object of 1.5 MB, etcd's limit, takes six times its size where JSON
 * escapes each character, and a request of 3 MB, the API server's limit, 18 MB.
 */
const READ_LIMIT = 32 * 1024 * 1024;
/** API servers write the uid of the request right behind kind and apiVersion (k8s.io/api/admission/v1, AdmissionReview). */
const HEAD_BYTES = 1024;
const UID = /"request":\s*\{\s*"uid":\s*"([0-9A-Za-z-]{1,64})"/;

/** A review that is larger than this replica reads. `uid` is that of its request, if its beginning has one. */
export class UnreadReview extends GateError {
  readonly uid: string | undefined;

  constructor(code: 'PG_BODY_TOO_LARGE' | 'PG_BODY_VALUES', limit: number, head: Buffer) {
    super(code, { limit });
    this.uid = UID.exec(head.toString('latin1', 0, HEAD_BYTES))?.[1];
  }
}

/** Returns the most memory that a parsed body can take: 21 times its size, or 64 bytes for each of its values. */
export function parsedBytes(bodyBytes: number): number {
  return Math.min(21 * bodyBytes, 64 * VALUES_LIMIT);
}

/**
 * Reads the body of a request within the budget. If there is no room for the body, it is read and dropped, because an answer before
 * the end of the request might not reach the caller. So is one that is too large, where it is to be denied (`isDenied`).
 * @throws GateError PG_BUSY, PG_BODY_NOT_JSON; UnreadReview
 */
export async function readReviewBody(
  request: IncomingMessage,
  charge: Charge,
  isDenied: boolean,
): Promise<Buffer> {
  const length = request.headers['content-length'];
  const announced = length === undefined ? undefined : Number(length);
  const readLimit = isDenied ? READ_LIMIT : BODY_LIMIT;
  if (announced !== undefined && announced > readLimit) throw tooLarge();
  const body = await receive(request, charge, announced, readLimit);
  if (body.length > SCANNED_BYTES && countValues(body) > VALUES_LIMIT)
    throw new UnreadReview('PG_BODY_VALUES', VALUES_LIMIT, body);
  return body;
}

function receive(
  request: IncomingMessage,
  charge: Charge,
  announced: number | undefined,
  readLimit: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let head = Buffer.alloc(0);
    let bytes = 0;
    let hasRoom = announced === undefined || (announced <= BODY_LIMIT && charge.add(announced));
    const drop = () => {
      hasRoom = false;
      chunks.length = 0;
      charge.end();
    };
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (head.length < HEAD_BYTES) head = Buffer.concat([head, chunk.subarray(0, HEAD_BYTES)]);
      if (bytes > BODY_LIMIT) {
        drop();
        if (bytes > readLimit) reject(tooLarge(head));
      } else if (hasRoom && announced === undefined && !charge.add(chunk.length)) drop();
      if (hasRoom) chunks.push(chunk);
    });
    request.once('end', () => {
      if (bytes > BODY_LIMIT) reject(tooLarge(head));
      else if (hasRoom) resolve(Buffer.concat(chunks, bytes));
      else reject(new GateError('PG_BUSY', {}));
    });
    request.once('error', (error) => reject(new GateError('PG_BODY_NOT_JSON', { detail: error.message })));
  });
}

function tooLarge(head: Buffer = Buffer.alloc(0)): UnreadReview {
  return new UnreadReview('PG_BODY_TOO_LARGE', BODY_LIMIT, head);
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
