import { isDefinitive, PULL_FAILURE_REASONS, type PullFailureReason } from './failure-reasons.ts';

export interface PullFailure {
  readonly reason: PullFailureReason;
  readonly definitive: boolean;
}

/** The kubelet's own words for a pull that fails (pkg/kubelet/images/types.go and the errors of cri-api). */
const KUBELET_WORDS: ReadonlySet<string> = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]);

/**
 * How Go says that a pull secret cannot be decoded. From 1.33 on kubelets report that as the reason itself, without a word of
 * their own (EnsureImageExists returns the error of the keyring).
 */
const UNREADABLE_SECRET =
  /illegal base64 data|invalid character .* looking for|unexpected end of JSON input|json: cannot unmarshal|unable to parse auth field/i;

/**
 * Why a pull failed, from the waiting reason of the container and its message. Kubelet and runtime pass on only text,
 * so it is the text that is read: as written by containerd, CRI-O and Docker. `Unknown` for a kubelet that says no
 * more than that it backs off, and for words that nobody knows.
 */
export function classifyPullFailure(waitingReason: string, message: string): PullFailure {
  if (waitingReason === 'InvalidImageName') return failure('InvalidName');
  if (waitingReason === 'ErrImageNeverPull') return failure('NeverPull');
  if (!KUBELET_WORDS.has(waitingReason) && UNREADABLE_SECRET.test(`${waitingReason} ${message}`))
    return failure('PullSecretInvalid');
  const answers = answersOf(oneLine(message)).map(classifyAnswer);
  // One answer for each pull secret. If one of them may be temporary, the failure is not definitive. If the registry answers "not
  // found" to one secret, it has accepted that secret.
  const judged =
    answers.find((answer) => !answer.definitive) ??
    answers.find((answer) => answer.reason === 'NotFound') ??
    answers[0] ??
    failure('Unknown');
  if (judged.reason !== 'Unknown') return judged;
  return failure(REASONS_OF_KUBELETS.get(waitingReason) ?? 'Unknown');
}

/** What the kubelet's own word says if the text says no more. */
const REASONS_OF_KUBELETS: ReadonlyMap<string, PullFailureReason> = new Map([
  ['RegistryUnavailable', 'ServerError'],
  ['SignatureValidationFailed', 'SignatureInvalid'],
]);

function failure(reason: PullFailureReason): PullFailure {
  return { reason, definitive: isDefinitive(reason) };
}

function classifyAnswer(answer: string): PullFailure {
  const text = withoutNames(answer);
  if (OTHER_PLATFORM.test(text)) return failure('WrongPlatform');
  if (SCHEMA_1.test(answer)) return failure('UnsupportedImage');
  const ofAnswer = ofStatus(STATUS.exec(text)?.[1], answer);
  return failure(ofAnswer ?? WORDS.find(([words]) => words.test(text))?.[1] ?? 'Unknown');
}

const OTHER_PLATFORM =
  /no match(?:ing manifest)? for |no image found in (?:manifest list|image index) for |does not (?:match|provide) the specified platform/i;

/** The media type is part of what is said, so this is looked for before names are taken out. */
const SCHEMA_1 = /manifest\.v1(?:\+\w+)?"? (?:is )?(?:not|no longer) supported/;

/**
 * An HTTP status as containerd (`unexpected status code URL: 503 ...`, `unexpected status from HEAD request to URL: 403
 * ...`), Docker (`received unexpected HTTP status: 502 ...`, `error parsing HTTP 502 response body`) and CRI-O
 * (`StatusCode: 404`, `invalid status code from registry 503`) write it. It goes before the words: the body that follows
 * may be a proxy's page and say anything.
 */
const STATUS =
  /\b(?:status(?: code)?(?: from (?:registry|\w+ request))?(?: to)?(?: _)?(?: \[[^\]]*\])?:?|StatusCode:|HTTP) ([1-5][0-9]{2})\b/i;

/**
 * A request for a layer or for the image's configuration, as containerd, CRI-O and Docker write it. An account that may read the
 * manifest may read these, but registries redirect to a store of their own, and that may refuse: its policy, an expired signature,
 * a clock that is wrong.
 */
const BLOB = /\/blobs\/sha\d+:|\b(?:fetching|reading) blob\b|error pulling image configuration/;

function ofStatus(status: string | undefined, answer: string): PullFailureReason | undefined {
  if (status === undefined) return undefined;
  if (status === '404') return 'NotFound';
  if (status === '408') return 'Timeout';
  if (status === '429') return 'TooManyRequests';
  if (status.startsWith('5')) return 'ServerError';
  if (status === '401' || status === '403') return BLOB.test(answer) ? 'LayerRefused' : 'Unauthorized';
  // Harbor's answer for an image that its project's policy keeps back, for vulnerabilities or a missing signature.
  return status === '412' ? 'PolicyViolation' : undefined;
}

/**
 * The first that matches counts. What went wrong on the way comes before what a registry says: with a failed
 * connection there is no answer, whatever step it was to be the answer to.
 */
const WORDS: readonly (readonly [RegExp, PullFailureReason])[] = [
  // The kubelet did not reach its runtime: not a word about the registry.
  [
    /\bdial unix\b|code = Unavailable desc = (?:connection error|error reading from server|transport)/,
    'RuntimeUnavailable',
  ],
  // The last is the kubelet's own limit, registryPullQPS.
  [/toomanyrequests|too many requests|rate limit|pull QPS exceeded/i, 'TooManyRequests'],
  [/service unavailable|bad gateway|gateway time-?out|internal server error/i, 'ServerError'],
  [/no space left on device|disk quota exceeded/i, 'NoSpace'],
  [/wrong diff id|filesystem layer verification failed/, 'DigestMismatch'],
  // Other errors with the files of a layer, or with the registry settings of the node, are errors of the node.
  [/failed to (?:extract|register) layer|no (?:resolve|pull) hosts/, 'Unknown'],
  [/server gave HTTP response to HTTPS client|sent an HTTP request to an HTTPS server/i, 'PlainHttp'],
  [/no such host|server misbehaving|name resolution|dial tcp: lookup /i, 'Dns'],
  [/connection refused/i, 'ConnectionRefused'],
  [/no route to host|(?:network|host) is (?:unreachable|down)/, 'Unreachable'],
  [/\bx509: certificate signed by unknown authority/, 'UnknownAuthority'],
  [/\bx509: /, 'InvalidCertificate'],
  // containerd cancels a pull without progress (image_pull_progress_timeout).
  [/\btimeout\b|timed out|deadline exceeded|context canceled|request canceled/i, 'Timeout'],
  [/\btls: |TLS handshake/, 'TlsFailure'],
  [
    /connection reset by peer|\bEOF\b|broken pipe|use of closed network connection|server closed idle connection|server sent GOAWAY|stream error: /,
    'ConnectionLost',
  ],
  [
    /unexpected commit digest|failed size validation|digest (?:did not|does not) match|digest mismatch|does not match (?:provided )?manifest digest|would not match destination reference|(?:manifest|image) verification failed for digest/i,
    'DigestMismatch',
  ],
  [
    /signature validation failed|source image rejected|signature was required|signature verification failed|no matching signatures/i,
    'SignatureInvalid',
  ],
  [/projectpolicyviolation|due to configured policy|\bblocked pull of\b/i, 'PolicyViolation'],
  [
    /schema ?1 (?:image )?(?:manifests? )?(?:is |are )?(?:not|no longer) supported|manifest version 2, schema 1|unsupported (?:docker v2s2 |schema1 |manifest )*(?:media|mime) ?type|unrecogni[sz]ed mediatype|encountered unknown type|unimplemented manifest|rejecting \d+ byte manifest/i,
    'UnsupportedImage',
  ],
  [
    /pull access denied|access to the resource is denied|authorization failed|no basic auth credentials|missing username or secret/i,
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
export function registryMessage(message: string): string {
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

/** A failure as an ImagePreload's status holds it; `undefined` if the reason is not one of a failed pull. */
export function recordedFailure(
  reason: string,
  message: string,
): (PullFailure & { readonly message: string }) | undefined {
  const known = PULL_FAILURE_REASONS.find((candidate) => candidate === reason);
  return known === undefined ? undefined : { ...failure(known), message };
}

/** All that kubelets before 1.31 say while they back off. */
const NO_WORDS = /^Back-off pulling image "[^"]*"$/;

/** Returns whether a kubelet has said why: if not, it has said so before. */
export function saysWhy(message: string): boolean {
  return !NO_WORDS.test(message);
}

/** The registry's words about an image, which most registries begin with the image themselves. */
export function describeFailure(image: string, message: string): string {
  return message.startsWith(image) ? message : `${image}: ${message}`;
}

/** Why a pull failed, in the registry's or the kubelet's words. */
export interface Failure {
  readonly reason: PullFailureReason;
  /** The registry has answered, and asking again at once would give the same answer. */
  readonly definitive: boolean;
  readonly message: string;
}
