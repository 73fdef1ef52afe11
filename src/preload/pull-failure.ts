/** All there are. */
export const PULL_FAILURE_REASONS = [
  'NotFound',
  'Unauthorized',
  'InvalidName',
  'NeverPull',
  'Dns',
  'ConnectionRefused',
  'UnknownAuthority',
  'TooManyRequests',
  'ServerError',
  'Timeout',
  'NoSpace',
  'PodRejected',
  'PodNotStarted',
  'Unknown',
] as const;
export type PullFailureReason = (typeof PULL_FAILURE_REASONS)[number];

export interface PullFailure {
  readonly reason: PullFailureReason;
  /** The answer is about the image, and every other node would get it too. When in doubt it is not. */
  readonly definitive: boolean;
}

const DEFINITIVE: ReadonlySet<PullFailureReason> = new Set([
  'NotFound',
  'Unauthorized',
  'InvalidName',
  'NeverPull',
]);

/**
 * Why a pull failed, from the waiting reason of the container and its message. Kubelet and runtime pass on only text,
 * so it is the text that is read: as written by containerd, CRI-O and Docker. `Unknown` for a kubelet that says no
 * more than that it backs off.
 */
export function classifyPullFailure(waitingReason: string, message: string): PullFailure {
  if (waitingReason === 'InvalidImageName') return failure('InvalidName');
  if (waitingReason === 'ErrImageNeverPull') return failure('NeverPull');
  const answers = answersOf(oneLine(message)).map(classifyAnswer);
  // One answer per pull secret. One that may pass by itself leaves it open; a registry that says "not found" to one
  // secret has let that one in.
  const judged =
    answers.find((answer) => !answer.definitive) ??
    answers.find((answer) => answer.reason === 'NotFound') ??
    answers[0] ??
    failure('Unknown');
  return judged.reason === 'Unknown' && waitingReason === 'RegistryUnavailable'
    ? failure('ServerError')
    : judged;
}

function failure(reason: PullFailureReason): PullFailure {
  return { reason, definitive: DEFINITIVE.has(reason) };
}

function classifyAnswer(answer: string): PullFailure {
  const text = withoutNames(answer);
  // True of the nodes of one architecture: the others may well find theirs.
  if (OTHER_PLATFORM.test(text)) return { reason: 'NotFound', definitive: false };
  const reason = ofStatus(STATUS.exec(text)?.[1]) ?? WORDS.find(([words]) => words.test(text))?.[1];
  return failure(reason ?? 'Unknown');
}

const OTHER_PLATFORM = /no match(?:ing manifest)? for |no image found in (?:manifest list|image index) for /i;

/**
 * An HTTP status as containerd (`unexpected status code URL: 503 ...`, `unexpected status from HEAD request to URL: 403
 * ...`), Docker (`received unexpected HTTP status: 502 ...`, `error parsing HTTP 502 response body`) and CRI-O
 * (`StatusCode: 404`, `invalid status code from registry 503`) write it. It goes before the words: the body that follows
 * may be a proxy's page and say anything.
 */
const STATUS =
  /\b(?:status(?: code)?(?: from (?:registry|\w+ request))?(?: to)?(?: _)?(?: \[[^\]]*\])?:?|StatusCode:|HTTP) ([1-5][0-9]{2})\b/i;

function ofStatus(status: string | undefined): PullFailureReason | undefined {
  if (status === undefined) return undefined;
  if (status === '401' || status === '403') return 'Unauthorized';
  if (status === '404') return 'NotFound';
  if (status === '408') return 'Timeout';
  if (status === '429') return 'TooManyRequests';
  return status.startsWith('5') ? 'ServerError' : undefined;
}

/**
 * The first that matches counts. What went wrong on the way comes before what a registry says: with a failed
 * connection there is no answer, whatever step it was to be the answer to.
 */
const WORDS: readonly (readonly [RegExp, PullFailureReason])[] = [
  // The last is the kubelet's own limit, registryPullQPS.
  [/toomanyrequests|too many requests|rate limit|pull QPS exceeded/i, 'TooManyRequests'],
  [/service unavailable|bad gateway|gateway time-?out|internal server error/i, 'ServerError'],
  [/no space left on device|disk quota exceeded/i, 'NoSpace'],
  [/no such host|server misbehaving|name resolution|dial tcp: lookup /i, 'Dns'],
  [/connection refused/i, 'ConnectionRefused'],
  [/\bx509: /, 'UnknownAuthority'],
  // containerd cancels a pull without progress (image_pull_progress_timeout).
  [/\btimeout\b|timed out|deadline exceeded|context canceled|request canceled/i, 'Timeout'],
  [
    /pull access denied|access to the resource is denied|authorization failed|no basic auth credentials/i,
    'Unauthorized',
  ],
  // Not a proxy that wants a password, nor a file on the node: those are no answers about the image.
  [
    /(?<!proxy )authentication required|(?<!permission )\bdenied(?:: |$)|\bunauthorized(?:: |$)/i,
    'Unauthorized',
  ],
  [/unable to retrieve auth token/i, 'Unauthorized'],
  [
    /(?:manifest|name|blob)[ _]unknown|unknown blob|name not known to registry|was deleted or has expired/i,
    'NotFound',
  ],
  [/\b(?:manifest for|repository|artifact) \S+ not found|manifest tagged by \S+ is not found/i, 'NotFound'],
  // A bare "not found" may be the node's own store that lost a layer (containerd#12302).
  [
    /failed to resolve (?:reference|image)\b.*: not found$|from remote: not found$|content at _ not found/i,
    'NotFound',
  ],
  [
    /invalid reference format|(?:couldn't|could not|failed to) parse image (?:reference|name)/i,
    'InvalidName',
  ],
];

/** Names, paths and addresses become `_`: an image may be called `toomanyrequests`. */
function withoutNames(text: string): string {
  return text.replace(/"[^"]*"/g, '_').replace(/\S+/g, withoutName);
}

/** Of a word with a slash, what stands in brackets before it and the punctuation after it is kept. */
function withoutName(word: string): string {
  const slash = word.indexOf('/');
  if (slash === -1) return word;
  const start = Math.max(word.lastIndexOf('[', slash), word.lastIndexOf('(', slash)) + 1;
  let end = word.length;
  while (':,;)]'.includes(word.charAt(end - 1))) end -= 1;
  return `${word.slice(0, start)}_${word.slice(end)}`;
}

/** A kubelet that tried several secrets lists their answers: `[rpc error: ..., rpc error: ...]`. */
function answersOf(text: string): string[] {
  // CRI-O says of its mirrors only why they were of no use; the answer is that of the registry itself.
  const answer = text.replace(/\(Mirrors also failed: .*?\]\): /, '');
  const list = /^\[(rpc error: .*)\]$/.exec(withoutPrefixes(answer, BACK_OFF))?.[1];
  return list === undefined ? [answer] : list.split(/, (?=rpc error: code = )/);
}

/** Room for two lines of a terminal; the event's note and the status hold several of them. */
const WORDS_LIMIT = 300;
/** What was done and to what; the rest is for the cause, which Go's errors end with. */
const BEGINNING = 140;

/**
 * The part of a kubelet's message that a human needs: one line, without what the layers in between prefixed, what is
 * said twice, and the query of an address (it may be a signature); at most 300 characters.
 */
export function registryWords(message: string): string {
  const answers = answersOf(oneLine(message)).map((answer) =>
    withoutRepetition(withoutPrefixes(answer, [...BACK_OFF, ...WRAPPERS])),
  );
  const words = [...new Set(answers)].join('; ').replace(/[^\s"]+/g, withoutQuery);
  if (words.length <= WORDS_LIMIT) return words;
  // What is wrong with a name that is too long is said after it, and the name is known.
  const short = words.replace(/"([^"]{60})[^"]+"/g, (_, start: string) => `"${cut(start)}…"`);
  if (short.length <= WORDS_LIMIT) return short;
  const end = short.slice(BEGINNING + 1 - WORDS_LIMIT).replace(/^[\udc00-\udfff]/, '');
  return `${cut(short.slice(0, BEGINNING))}…${end}`;
}

function withoutQuery(word: string): string {
  const address = word.search(/https?:\/\/[^?]/);
  const query = address === -1 ? -1 : word.indexOf('?', address);
  if (query === -1) return word;
  return word.slice(0, query) + (word.endsWith(':') ? ':' : '');
}

/** Without the first half of a character whose second half was cut off. */
function cut(text: string): string {
  return text.replace(/[\ud800-\udbff]$/, '');
}

/** What the kubelet writes before the runtime's answer, in the versions that repeat it while backing off. */
const BACK_OFF: readonly RegExp[] = [
  /^Back-off pulling image "[^"]*": /,
  /^(?:ErrImagePull|ImageInspectError|RegistryUnavailable|SignatureValidationFailed): /,
];

const WRAPPERS: readonly RegExp[] = [
  /^rpc error: code = \w+ desc = /,
  /^Error response from daemon: /,
  /^failed to pull (?:and unpack )?image "[^"]*": /i,
  /^failed to resolve (?:reference "[^"]*"|image): /,
  /^failed to copy: httpReadSeeker: failed open: /,
];

function withoutPrefixes(text: string, prefixes: readonly RegExp[]): string {
  let rest = text;
  for (;;) {
    const prefix = prefixes.find((candidate) => candidate.test(rest));
    if (prefix === undefined) return rest;
    rest = rest.replace(prefix, '');
  }
}

/** `manifest unknown: manifest unknown` says it once. */
function withoutRepetition(text: string): string {
  return text
    .split(': ')
    .filter((part, index, parts) => part !== parts[index - 1])
    .join(': ');
}

function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\s\u0000-\u001f\u007f]+/g, ' ').trim();
}

/** A failure as an ImagePreload's status holds it; `undefined` if its reason says nothing. */
export function recordedFailure(
  reason: string,
  message: string,
): (PullFailure & { readonly message: string }) | undefined {
  const known = PULL_FAILURE_REASONS.find((candidate) => candidate === reason);
  return known === undefined || known === 'Unknown' ? undefined : { ...failure(known), message };
}

/** The registry's words about an image, which most registries begin with the image themselves. */
export function wordsAbout(image: string, message: string): string {
  return message.startsWith(image) ? message : `${image}: ${message}`;
}
