import { MODES } from '../../../src/api/names.ts';
import { type Random, randomOf } from '../../support/random.ts';
import { mutatedReview } from './mutation.ts';
import { realisticReview } from './realistic-review.ts';

/** Where the endpoint is. */
const PATHS = MODES.map((mode) => `/admit/${mode}`);
/** As admission-server.ts has it. */
export const BODY_LIMIT = 7 * 1024 * 1024;
/** A slow request takes the 5 s that the server waits: these many are enough, and go on beside the others. */
const SLOW_EVERY = 400;
/** A body of 7 MiB takes some 50 ms. */
const FULL_EVERY = 200;

export interface FuzzRequest {
  readonly seed: number;
  readonly index: number;
  /** How it is delivered, in words. */
  readonly delivery: string;
  /** What goes over the connection, in this order, as separate writes. */
  readonly writes: readonly Buffer[];
  /**
   * What happens then. `keep`: one answer is awaited, and the connection goes on. `end`: no more is sent, and the connection is
   * read to its end. `drop`: the connection is destroyed. `slow`: nothing more comes for as long as the server waits, but
   * `drip` every 200 ms.
   */
  readonly ending: 'keep' | 'end' | 'drop' | 'slow';
  readonly drip?: Buffer;
  /** The body as the server has to understand it; absent where the bytes say several things, or no HTTP at all. */
  readonly body?: Buffer;
  readonly contentType: ContentType;
}

interface ContentType {
  readonly header: string;
  /** Whether it says JSON. */
  readonly json: boolean;
}

const JSON_TYPE: ContentType = { header: 'content-type: application/json\r\n', json: true };
const CONTENT_TYPES: readonly ContentType[] = [
  { header: 'Content-Type: application/json; charset=utf-8\r\n', json: true },
  { header: 'content-type: APPLICATION/JSON\r\n', json: true },
  { header: '', json: false },
  { header: 'content-type: \r\n', json: false },
  { header: 'content-type: text/plain\r\n', json: false },
  { header: 'content-type: application/yaml\r\n', json: false },
  { header: 'content-type: application/jsonx\r\n', json: false },
  { header: 'content-type: multipart/form-data; boundary=x\r\n', json: false },
  { header: 'content-type: \xff\xfe;;;=\r\n', json: false },
  { header: `content-type: text/${'x'.repeat(8000)}\r\n`, json: false },
];
/** None of these changes what the request is. */
const OTHER_HEADERS: readonly string[] = [
  'accept: application/json, */*\r\nuser-agent: kube-apiserver-admission\r\naccept-encoding: gzip\r\n',
  'content-encoding: gzip\r\n',
  'expect: 100-continue\r\n',
  'x-forwarded-for: ::1\r\nx-forwarded-host: \xff\r\n',
  '__proto__: x\r\nconstructor: y\r\n',
  'accept-version: 99.x\r\n',
  `cookie: ${'a=b; '.repeat(1000)}\r\n`,
];

/** The one request of this seed and index. */
export function fuzzRequest(seed: number, index: number): FuzzRequest {
  const random = randomOf(seed, index);
  const contentType = random.chance(0.04) ? random.pick(CONTENT_TYPES) : JSON_TYPE;
  const full = index % FULL_EVERY === FULL_EVERY / 2;
  const review = mutatedReview(realisticReview(random), random);
  const body = full ? padded(review, random) : review;
  const others = random.chance(0.1) ? random.pick(OTHER_HEADERS) : '';
  const path =
    random.pick(PATHS) + random.pick(['', '?timeout=5s', '?timeout=5s', '?%zz', '?__proto__[a]=1']);
  const head = `POST ${path} HTTP/1.1\r\nhost: gate.example:9443\r\n${contentType.header}${others}`;
  const deliver =
    index % SLOW_EVERY === 0
      ? random.pick(SLOW_DELIVERIES)
      : random.chance(full ? 0 : 0.12)
        ? random.pick(HOSTILE_DELIVERIES)
        : random.pick(DELIVERIES);
  return { seed, index, contentType, delivery: deliver.name, ...deliver(head, body, random) };
}

/**
 * Exactly at the limit of what is read, or one byte to either side: with white space, a long field, or an image
 * of a pattern that a regular expression goes far with.
 */
function padded(review: Buffer, random: Random): Buffer {
  const length = BODY_LIMIT + random.pick([-1, 0, 0, 1]);
  const place = random.pick(['', '"metadata":{', '"image":"']);
  const at = place === '' ? -1 : review.lastIndexOf(place);
  if (at < 0) return Buffer.concat([review, Buffer.alloc(Math.max(0, length - review.length), ' ')]);
  const [before, after] = [review.subarray(0, at + place.length), review.subarray(at + place.length)];
  const [open, unit, close] =
    place === '"image":"'
      ? [random.pick(['', 'x/', 'x@']), random.pick(['a.', 'a-', 'a--', 'a/', 'a']), '","old":"']
      : ['"note":"', 'x', '",'];
  const room = Math.max(0, length - review.length - open.length - close.length);
  return Buffer.concat([before, Buffer.from(open), Buffer.alloc(room, unit), Buffer.from(close), after]);
}

type Delivered = Pick<FuzzRequest, 'writes' | 'ending' | 'drip' | 'body'>;
type Delivery = (head: string, body: Buffer, random: Random) => Delivered;

const sized = (head: string, length: number | string) =>
  Buffer.from(`${head}content-length: ${length}\r\n\r\n`, 'latin1');
const unsized = (head: string) => Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n`, 'latin1');
const chunk = (bytes: Buffer, size = bytes.length.toString(16)) =>
  Buffer.concat([Buffer.from(`${size}\r\n`), bytes, Buffer.from('\r\n')]);
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** At most 40 pieces. */
function pieces(body: Buffer, random: Random): Buffer[] {
  const list: Buffer[] = [];
  const most = 1 + Math.max(random.below(body.length + 1), Math.ceil(body.length / 20));
  for (let from = 0; from < body.length; ) {
    const to = from + Math.max(1 + random.below(most), Math.ceil(body.length / 40));
    list.push(body.subarray(from, to));
    from = to;
  }
  return list;
}

/** What HTTP has for this, and clients do. */
const DELIVERIES: readonly Delivery[] = [
  function whole(head, body) {
    return { writes: [Buffer.concat([sized(head, body.length), body])], ending: 'keep', body };
  },
  function inPieces(head, body, random) {
    return { writes: [sized(head, body.length), ...pieces(body, random)], ending: 'keep', body };
  },
  function chunked(head, body, random) {
    const chunks = pieces(body, random).map((piece) => chunk(piece));
    return { writes: [unsized(head), ...chunks, LAST_CHUNK], ending: 'keep', body };
  },
];

const HOSTILE_DELIVERIES: readonly Delivery[] = [
  function pipelined(head, body) {
    const one = Buffer.concat([sized(head, body.length), body]);
    return { writes: [Buffer.concat([one, one, one])], ending: 'end', body };
  },
  function dropped(head, body, random) {
    const all = Buffer.concat([sized(head, body.length), body]);
    return { writes: [all.subarray(0, random.below(all.length))], ending: 'drop' };
  },
  function droppedWithChunksMissing(head, body, random) {
    return { writes: [unsized(head), ...pieces(body, random).map((piece) => chunk(piece))], ending: 'drop' };
  },
  function droppedWhenAnswered(head, body) {
    return { writes: [sized(head, body.length), body], ending: 'drop' };
  },
  function lengthTooSmall(head, body, random) {
    const length = random.below(body.length + 1);
    return { writes: [sized(head, length), body], ending: 'end', body: body.subarray(0, length) };
  },
  function lengthTooLarge(head, body, random) {
    return { writes: [sized(head, body.length + 1 + random.below(1000)), body], ending: 'end' };
  },
  function lengthAbsurd(head, body, random) {
    const lengths = [
      '-1',
      '1e3',
      '0x10',
      '99999999999',
      '9'.repeat(40),
      '',
      '12, 13',
      '5\r\ncontent-length: 6',
      ' 7 7',
    ];
    return { writes: [sized(head, random.pick(lengths)), body], ending: 'end' };
  },
  function lengthAndChunks(head, body) {
    const both = Buffer.from(`${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n`, 'latin1');
    return { writes: [both, chunk(body), LAST_CHUNK], ending: 'end' };
  },
  function chunkSizeWrong(head, body, random) {
    const sizes = [
      '-1',
      'zz',
      'ffffffffffffffff',
      '0x5',
      ' ',
      '1',
      '5;x=y',
      `5;${'x'.repeat(20_000)}`,
      '100000',
    ];
    return { writes: [unsized(head), chunk(body, random.pick(sizes)), LAST_CHUNK], ending: 'end' };
  },
  function chunksWithoutEnd(head, body) {
    return { writes: [unsized(head), chunk(body)], ending: 'end' };
  },
  function trailers(head, body, random) {
    const end = `0\r\n${random.pick(['content-length: 1', 'a', `x: ${'y'.repeat(20_000)}`])}\r\n\r\n`;
    return { writes: [unsized(head), chunk(body), Buffer.from(end)], ending: 'end' };
  },
  function headTooLarge(head, body) {
    return { writes: [sized(`${head}x: ${'y'.repeat(100_000)}\r\n`, body.length), body], ending: 'end' };
  },
  function notHttp(_head, body) {
    return { writes: [body], ending: 'end' };
  },
  function upgrade(head, body) {
    return {
      writes: [sized(`${head}connection: upgrade\r\nupgrade: h2c\r\n`, body.length), body],
      ending: 'end',
    };
  },
];

const SLOW_DELIVERIES: readonly Delivery[] = [
  function silentAfterHead(head, body) {
    return { writes: [sized(head, body.length + 1)], ending: 'slow' };
  },
  function silentWithin(head, body, random) {
    return {
      writes: [sized(head, body.length + 1), body.subarray(0, random.below(body.length))],
      ending: 'slow',
    };
  },
  function silentWithinChunk(head, body) {
    return { writes: [unsized(head), chunk(body, (body.length + 1000).toString(16))], ending: 'slow' };
  },
  function dripping(head) {
    return { writes: [sized(head, 10_000)], ending: 'slow', drip: Buffer.from(' ') };
  },
  function drippingChunks(head) {
    return { writes: [unsized(head)], ending: 'slow', drip: chunk(Buffer.from(' ')) };
  },
];
