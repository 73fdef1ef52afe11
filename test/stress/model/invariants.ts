// biome-ignore-all lint/style/noExcessiveLinesPerFile: a plain list of promises
import {
  BYPASS_ANNOTATION,
  DEADLINE_ANNOTATION,
  GROUP,
  HELD_LABEL,
  KEEP_PAUSED_ANNOTATION,
  MIN_NODES_ANNOTATION,
  MODE_LABEL,
  MODE_OFF,
  REVERT_ANNOTATION,
} from '../../../src/api/names.ts';
import { asArray, asObject, asString, at, type JsonObject } from '../../../src/json.ts';
import { hasFailedOpen, whatIsUntold } from './failed-open.ts';
import { type History, overlaps, type UserUpdate } from './history.ts';
import { type NeededImage, SLACK_MS, whyNotYet } from './on-nodes.ts';
import { mergePatched, ownFields, readStored, type Stored, templateText } from './stored.ts';

/** A foreign hold is dropped within 5 s. */
const FOREIGN_MS = 5000;
/** The ReplicaSet controller acts on what was stored some time before. */
const POD_LAG_MS = 1500;

/** What was looked at, and what was found. */
export interface Judgement {
  /** What was promised and not kept, in words. */
  readonly violations: readonly string[];
  /** How often there was something to judge, by kind. A run without holds would prove nothing. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Pure: a fold over what was seen, so that every moment is looked at. */
export function judge(history: History): Judgement {
  const found: string[] = [];
  const counts: Record<string, number> = {};
  for (const [uid, versions] of versionsByUid(history)) {
    const name = versions[0]?.name ?? '';
    const book: Book = {
      tell: (when, what) =>
        found.push(`at ${seconds(history, when)}: Deployment ${name} (${uid.slice(0, 8)}): ${what}`),
      count: (what) => {
        counts[what] = (counts[what] ?? 0) + 1;
      },
    };
    foldVersions(history, versions, book);
    checkPods(history, uid, versions, book);
  }
  return { violations: found, counts };
}

interface Book {
  readonly tell: (when: number, what: string) => void;
  readonly count: (what: string) => void;
}

interface Version extends Stored {
  readonly at: number;
  readonly name: string;
  readonly object: JsonObject;
}

function seconds({ moments }: History, when: number): string {
  return `${((when - (moments[0]?.at ?? 0)) / 1000).toFixed(1)} s`;
}

function versionsByUid({ moments }: History): Map<string, Version[]> {
  const byUid = new Map<string, Version[]>();
  for (const { kind, at: when, name, uid, object } of moments) {
    if (kind !== 'Deployment' || object === undefined) continue;
    const versions = byUid.get(uid) ?? [];
    byUid.set(uid, versions);
    versions.push({ ...readStored(object), at: when, name, object });
  }
  return byUid;
}

/** What a Deployment is to be, as far as its history tells. */
interface Believed {
  /** What `spec.paused` was last asked to be. */
  readonly wish: boolean;
  /** While held: what ran when that began, and since when the template is asked for. */
  readonly held?: { readonly from: Version; readonly since: number };
}

function foldVersions(history: History, versions: readonly Version[], book: Book): void {
  const [first] = versions;
  if (first === undefined) return;
  let before = first;
  // A copy's, or a backup's: the hold on it knows what its user wanted.
  let believed: Believed = { wish: first.paused && (first.hold?.userPaused ?? true) };
  for (const now of versions.slice(1)) {
    // Some versions were never seen, as the API server restarted: what they were is not known.
    if (now.generation > before.generation + 1) {
      book.count('gap');
      believed = { wish: now.paused && (now.hold?.userPaused ?? true) };
      before = now;
      continue;
    }
    const user = causeOf(history, believed, before, now);
    const wish =
      user === undefined
        ? afterOthers(believed.wish, before, now, book)
        : afterUser(history, believed, user, before, now, book);
    if (isHeld(now) && now.template !== before.template) book.count(isHeld(before) ? 'superseded' : 'held');
    checkMarks(wish, now, book);
    const past = versions.slice(0, versions.indexOf(now) + 1);
    checkLetGo(history, believed, { user, before, now, past }, book);
    believed = { wish, ...heldAfter(believed, user, before, now) };
    checkTold(history, versions, { user, before, now }, book);
    before = now;
  }
  checkForeign(history, versions, book);
}

/** A watch that was cut off tells of it late. */
const WATCH_LAG_MS = 15_000;

/** The update that made this version; undefined if no user did. */
function causeOf(
  { updates }: History,
  believed: Believed,
  before: Version,
  now: Version,
): UserUpdate | undefined {
  const possible = updates.filter(({ of, began }) => of === now.name && began <= now.at);
  const answered = possible.filter(({ resourceVersion }) => resourceVersion === now.resourceVersion);
  if (before.own === now.own) return answered[0];
  const fits = ({ update }: UserUpdate) => ownAfter(before, update, believed).includes(now.own);
  // The API server ended before it answered. A later update that changed nothing is answered with the same version, and so is
  // the second attempt, which may also be answered with a later version.
  const lost = ({ ended }: UserUpdate) => now.at <= ended + WATCH_LAG_MS;
  return answered.find(fits) ?? possible.findLast((one) => lost(one) && fits(one)) ?? answered[0];
}

/** Held by the gate, for this very Deployment. */
function isHeld({ hold, uid, paused }: Stored): boolean {
  return hold?.uid === uid && paused;
}

function isForeign({ hold, uid }: Stored): boolean {
  return hold !== undefined && hold.uid !== uid;
}

function keepsPaused({ annotations }: Stored): boolean {
  return annotations[KEEP_PAUSED_ANNOTATION] === 'true';
}

/** The gate and the controllers take holds off, and do nothing else. */
function afterOthers(wish: boolean, before: Version, now: Version, book: Book): boolean {
  if (now.own !== before.own)
    book.tell(now.at, `a field that is the user's changed: ${before.own} -> ${now.own}`);
  if (before.hold !== undefined && now.hold === undefined) {
    const expected = before.paused && (wish || keepsPaused(before));
    if (now.paused !== expected)
      book.tell(now.at, `paused is ${now.paused} without its hold, not ${expected}`);
    return expected;
  }
  if (now.hold?.text !== before.hold?.text)
    book.tell(now.at, `a hold was written without an update: ${now.hold?.text}`);
  if (now.paused !== before.paused) book.tell(now.at, `paused became ${now.paused} without an update`);
  return wish;
}

function afterUser(
  history: History,
  believed: Believed,
  user: UserUpdate,
  before: Version,
  now: Version,
  book: Book,
): boolean {
  const { update, text } = user;
  const { wish } = believed;
  const sent = asSent(before.object, update);
  const unasked = isUnasked(history, user) || !isGated(history, user);
  checkOwn(history, believed, user, before, now, book);
  const raw = readStored(sent);
  if (unasked && raw.paused === now.paused && raw.hold?.text === now.hold?.text) {
    book.count('stored as sent');
    if (now.hold === undefined) return now.paused;
    return now.paused && wish;
  }

  const inHold = isHeld(before) || (isForeign(before) && before.paused);
  // A pause during a hold cannot be seen.
  const asked = inHold ? wish && update.paused !== false : (update.paused ?? before.paused);
  if (isHeld(now)) {
    if (now.hold?.userPaused !== asked) book.tell(now.at, `${text}: userPaused is not ${asked}`);
    return asked;
  }
  const kept = inHold && keepsPaused(now);
  const fits = now.paused === (asked || kept) || (isForeign(before) && now.paused === asked);
  if (!fits) book.tell(now.at, `${text}: paused is ${now.paused}, not ${asked || kept}`);
  return now.paused;
}

/** Nobody but the user writes the user's fields. */
function checkOwn(
  history: History,
  believed: Believed,
  user: UserUpdate,
  before: Version,
  now: Version,
  book: Book,
): void {
  const [answered, passed] = ownAfter(before, user.update, believed);
  const isAnswered =
    !isUnasked(history, user) && isGated(history, user) && now.labels[MODE_LABEL] !== MODE_OFF;
  if (now.own !== answered && (isAnswered || now.own !== passed))
    book.tell(now.at, `${user.text}: stored is ${now.own}, not ${answered}`);
  if (user.update.verb !== 'revert' || !isAnswered || !mayGoBack(before)) return;
  book.count('reverted');
  if (now.hold !== undefined) book.tell(now.at, `${user.text}: still held`);
}

/** Whether a revert of this version restores what ran, and ends its hold. */
function mayGoBack(before: Version): boolean {
  return isHeld(before) && before.labels[MODE_LABEL] !== MODE_OFF;
}

/**
 * The user's fields after an update that the gate has answered, and after one that it was not asked about. They differ for `undo`: the
 * gate's annotations of an earlier revision do not count. They differ for `revert` of a held Deployment: it has the template that ran.
 */
function ownAfter(
  before: Version,
  update: UserUpdate['update'],
  { held }: Believed,
): readonly [string, string] {
  const { object } = before;
  const sent = asSent(object, update);
  const raw = ownFields(sent);
  if (update.verb === 'revert' && held !== undefined && mayGoBack(before)) {
    const annotations = { ...asObject(at(object, 'metadata', 'annotations')) };
    delete annotations[REVERT_ANNOTATION];
    const metadata = { ...asObject(object['metadata']), annotations };
    const spec = { ...asObject(object['spec']), template: at(held.from.object, 'spec', 'template') };
    return [ownFields({ ...object, metadata, spec }), raw];
  }
  if (update.verb !== 'undo') return [raw, raw];
  const isOurs = ([name]: readonly [string, unknown]) => name.startsWith(`${GROUP}/`);
  const annotations = (of: JsonObject) => Object.entries(asObject(at(of, 'metadata', 'annotations')));
  const kept = [
    ...annotations(sent).filter((entry) => !isOurs(entry)),
    ...annotations(object).filter((entry) => isOurs(entry)),
  ];
  const metadata = { ...asObject(sent['metadata']), annotations: Object.fromEntries(kept) };
  return [ownFields({ ...sent, metadata }), raw];
}

/** Whether the namespace was opted in all the time. */
function isGated({ modes }: History, { began, ended }: UserUpdate): boolean {
  const during = modes.filter((one) => overlaps(one, { from: began - SLACK_MS, to: ended }));
  return during.every(({ mode }) => mode !== 'none');
}

/** What would be stored if nobody changed it on its way. */
function asSent(object: JsonObject, { verb, body }: UserUpdate['update']): JsonObject {
  if (verb === 'merge' || verb === 'revert') return mergePatched(object, body) as JsonObject;
  const metadata = {
    ...(object['metadata'] as JsonObject),
    labels: at(body, 'metadata', 'labels'),
    annotations: at(body, 'metadata', 'annotations'),
  };
  return { ...object, metadata, spec: body['spec'] };
}

/** Whether it may have been stored without the gate's answer. */
function isUnasked(history: History, user: UserUpdate): boolean {
  return isDown(history, { from: user.began, to: user.ended }) || hasFailedOpen(history, user);
}

function isDown({ down }: History, span: { from: number; to: number }): boolean {
  return down.some((one) => overlaps(one, span));
}

function checkMarks(wish: boolean, now: Version, book: Book): void {
  if (now.paused && !wish && now.hold === undefined) book.tell(now.at, 'paused by nobody and not held');
  if ((now.hold !== undefined) !== (now.labels[HELD_LABEL] === 'true'))
    book.tell(now.at, `hold ${now.hold?.text}, but label ${HELD_LABEL} is ${now.labels[HELD_LABEL]}`);
}

function heldAfter(
  { held }: Believed,
  user: UserUpdate | undefined,
  before: Version,
  now: Version,
): Pick<Believed, 'held'> {
  if (!isHeld(now)) return {};
  const since = user?.began ?? now.at;
  if (held === undefined || !isHeld(before)) return isHeld(before) ? {} : { held: { from: before, since } };
  return { held: now.template === before.template ? held : { from: held.from, since } };
}

interface Change {
  readonly user: UserUpdate | undefined;
  readonly before: Version;
  readonly now: Version;
  /** All versions up to `now`. */
  readonly past: readonly Version[];
}

/** A template that needs images may go only once they are there, unless somebody has said otherwise. */
function checkLetGo(history: History, { held }: Believed, change: Change, book: Book): void {
  const { user, before, now, past } = change;
  if (isHeld(now) || (!isHeld(before) && now.template === before.template)) return;
  if (isHeld(before) && held === undefined) return;
  const from = held?.from ?? before;
  const names = neededImages(from, now, 0).map(({ image }) => image);
  const began = held?.since ?? requestedAt(history, now, names);
  const images = neededImages(from, now, began);
  const who = user === undefined ? 'released' : 'let through';
  const exempt = isExempt(history, user, before, now);
  book.count(`${who} ${images.length === 0 ? 'needing nothing' : exempt ? 'exempt' : 'preloaded'}`);
  if (images.length === 0 || exempt) return;
  // All settings of the steps are looser than the flags.
  const set = history.needsPermission ? [] : past;
  const minNodes = hasNotServed(past, now.at) ? ['1'] : valuesOf(MIN_NODES_ANNOTATION, set, '100%');
  const deadlines = valuesOf(DEADLINE_ANNOTATION, set, `${history.times.deadlineSeconds}`);
  const need = { images, minNodes, deadlineSeconds: Math.min(...deadlines.map(Number)), began };
  const why = whyNotYet(history, need, now.at);
  if (why !== undefined) book.tell(now.at, `let go by ${user?.text ?? 'the gate'} too early: ${why}`);
}

/** Whether no pod served at some time of late: then one node with the images is enough. */
function hasNotServed(past: readonly Version[], when: number): boolean {
  const since = past.findLastIndex(({ at: then }) => then < when - SLACK_MS);
  return past.slice(Math.max(0, since)).some(({ object, replicas }) => {
    const status = object['status'];
    return status !== undefined && replicas > 0 && Number(at(status, 'readyReplicas') ?? 0) === 0;
  });
}

/** The value that is set. Where it was taken away, an earlier one may still count: for the preload that was made with it. */
function valuesOf(annotation: string, past: readonly Version[], otherwise: string): string[] {
  const values = past.map(({ annotations }) => annotations[annotation]).filter(isValid);
  const set = past.at(-1)?.annotations[annotation];
  return isValid(set) ? [set] : [otherwise, ...new Set(values)];
}

/** As far as the steps go: `0` is no count. */
function isValid(value: string | undefined): value is string {
  return value !== undefined && value !== '0';
}

/** Nobody was asked about it, so nothing was held: then at least somebody is to hear of it. */
function checkTold(
  history: History,
  versions: readonly Version[],
  { user, before, now }: Omit<Change, 'past'>,
  book: Book,
): void {
  if (user === undefined || now.template === before.template || !hasFailedOpen(history, user)) return;
  book.count('failed open');
  const untold = whatIsUntold(history, versions, now);
  if (untold !== undefined) book.tell(now.at, `${user.text}: ${untold}`);
}

function neededImages(from: Stored, now: Stored, since: number): NeededImage[] {
  const had = new Set(from.images.map(({ image }) => image));
  return now.images
    .filter(({ image, always }) => !had.has(image) || (always && now.template !== from.template))
    .map(({ image, always }) => ({ image, since: always ? since : undefined }));
}

/** When the last preload for an update in mode reject was made; never, if there is none. */
function requestedAt({ moments }: History, { uid, at: when }: Version, images: readonly string[]): number {
  const made = moments.filter(
    ({ kind, at: then, object }) =>
      kind === 'ImagePreload' && then <= when && object !== undefined && isPreloadOf(object, uid, images),
  );
  const latest = made.at(-1)?.uid;
  // It is heard of some time after it was made.
  return (made.find((moment) => moment.uid === latest)?.at ?? Number.POSITIVE_INFINITY) - 1000;
}

function isPreloadOf(preload: JsonObject, owner: string, images: readonly string[]): boolean {
  const pulled = asArray(at(preload, 'spec', 'images')).map((one) => at(one, 'image'));
  const owners = asArray(at(preload, 'metadata', 'ownerReferences'));
  return owners.some((one) => at(one, 'uid') === owner) && images.every((image) => pulled.includes(image));
}

function isExempt(history: History, user: UserUpdate | undefined, before: Stored, now: Version): boolean {
  const modes = history.modes
    .filter((one) => overlaps(one, { from: now.at - SLACK_MS, to: now.at }))
    .map(({ mode }) => mode);
  const free = modes.some((mode) => mode === 'audit' || mode === 'none');
  const off = now.labels[MODE_LABEL] === MODE_OFF;
  if (free || off) return true;
  // A hold on one that was scaled to zero waits for nothing: its next scale-up starts the new version.
  if (user === undefined) return now.replicas === 0;
  const bypass = now.annotations[BYPASS_ANNOTATION];
  return (
    (!history.needsPermission && bypass !== undefined && bypass !== before.annotations[BYPASS_ANNOTATION]) ||
    ((now.replicas === 0 || before.replicas === 0) && !isHeld(before)) ||
    isUnasked(history, user)
  );
}

function checkForeign(history: History, versions: readonly Version[], book: Book): void {
  for (const [index, version] of versions.entries()) {
    const earlier = versions[index - 1];
    if (!isForeign(version) || (earlier !== undefined && isForeign(earlier))) continue;
    book.count('foreign');
    const end = versions.slice(index).find((later) => !isForeign(later))?.at ?? endOf(history, version.uid);
    const span = { from: version.at, to: end };
    if (end - version.at > FOREIGN_MS + SLACK_MS && !isDown(history, span))
      book.tell(end, `a foreign hold stayed for ${Math.round(end - version.at)} ms`);
  }
}

/** When the Deployment went, or nothing more was heard of anything. */
function endOf({ moments }: History, uid: string): number {
  const gone = moments.find((moment) => moment.uid === uid && moment.object === undefined);
  return gone?.at ?? moments.at(-1)?.at ?? 0;
}

/** The templates that pods are made of are those that were let go. */
function checkPods(history: History, uid: string, versions: readonly Version[], book: Book): void {
  const sets = replicaSetsOf(history, uid);
  const seen = new Set<string>();
  for (const { kind, at: when, uid: pod, name, object } of history.moments) {
    if (kind !== 'Pod' || object === undefined || seen.has(pod)) continue;
    seen.add(pod);
    const owner = asArray(at(object, 'metadata', 'ownerReferences')).find((one) => at(one, 'controller'));
    const set = sets.get(asString(at(owner, 'uid')) ?? '');
    if (set === undefined) continue;
    book.count('pod');
    const letGo = versions.some(
      ({ at: then, paused, template }) => then <= when + POD_LAG_MS && !paused && template === set.template,
    );
    const gap = versions.some(
      ({ generation }, index) => generation > (versions[index - 1]?.generation ?? generation) + 1,
    );
    if (!letGo && !gap) book.tell(when, `pod ${name} is of a template that was never let go`);
    const held = holdAt(versions, when - POD_LAG_MS, when);
    if (held?.template !== set.template) continue;
    const scaled = set.scale.findLast(({ at: then }) => then <= held.at + POD_LAG_MS);
    if ((scaled?.replicas ?? 0) === 0) book.tell(when, `pod ${name} was made of the held template`);
  }
}

/** The first version of the hold for one template that lasted all that time. */
function holdAt(versions: readonly Version[], from: number, to: number): Version | undefined {
  const last = versions.findLastIndex(({ at: then }) => then <= to);
  let found: Version | undefined;
  for (const version of versions.slice(0, last + 1).toReversed()) {
    if (!isHeld(version) || (found !== undefined && found.template !== version.template)) break;
    found = version;
  }
  return found !== undefined && found.at <= from ? found : undefined;
}

interface ReplicaSet {
  readonly template: string;
  readonly scale: { readonly at: number; readonly replicas: number }[];
}

function replicaSetsOf({ moments }: History, deployment: string): Map<string, ReplicaSet> {
  const sets = new Map<string, ReplicaSet>();
  for (const { kind, at: when, uid, object } of moments) {
    if (kind !== 'ReplicaSet' || object === undefined) continue;
    const owner = asArray(at(object, 'metadata', 'ownerReferences')).find((one) => at(one, 'controller'));
    if (at(owner, 'uid') !== deployment) continue;
    const set = sets.get(uid) ?? { template: templateText(object), scale: [] };
    sets.set(uid, set);
    set.scale.push({ at: when, replicas: Number(at(object, 'spec', 'replicas') ?? 1) });
  }
  return sets;
}
