import { type Random, randomOf } from '../../../support/random.ts';
import { hostileJson } from '../hostile-json.ts';
import { mutatedJson } from '../mutation.ts';
import { hostileWords, maliceFor, OBJECT_BYTES, type Victim } from './malice.ts';
import { NODE_NAMES, realisticObject } from './realistic-objects.ts';
import { KINDS, type Kind, VERSION_MARK } from './stored-objects.ts';

/** Strangers' namespaces: opted in, not, and by turns. */
export const STRANGERS = ['evil-open', 'evil-closed', 'evil-odd'] as const;
/** Few enough that most objects replace another one, and enough for pages. */
const NAMES = Array.from({ length: 24 }, (_, index) => `thing-${index}`);

/** What happens in the API server. */
export type Operation =
  | {
      readonly does: 'put';
      readonly kind: Kind;
      readonly namespace: string;
      readonly name: string;
      readonly text: string;
    }
  | { readonly does: 'remove'; readonly kind: Kind; readonly namespace: string; readonly name: string }
  /** An event that no change has made. */
  | { readonly does: 'say'; readonly kind: Kind; readonly type: string; readonly text: string }
  | { readonly does: 'cut'; readonly kind: Kind; readonly midLine: boolean }
  /** The past is forgotten; then the watches end. */
  | { readonly does: 'compact'; readonly kind: Kind }
  /** The watches end; the next list, or watch, begins with this. */
  | { readonly does: 'nextList'; readonly kind: Kind; readonly text: string }
  | { readonly does: 'nextWatch'; readonly kind: Kind; readonly type: string; readonly text: string };

export interface Situation {
  readonly victim: Victim;
  /** ms since the epoch, by the gate's clock. */
  readonly now: number;
}

/** How often each collection changes. */
const WEIGHTED: readonly Kind[] = [
  'deployments',
  'deployments',
  'deployments',
  'imagepreloads',
  'imagepreloads',
  'imagepreloads',
  'pods',
  'pods',
  'pods',
  'nodes',
  'namespaces',
];

/** What happens at this index of this seed: one hostile object in most cases, or one in a row of changes. */
export function operationsAt(seed: number, index: number, situation: Situation): readonly Operation[] {
  const random = randomOf(seed, index);
  const kind = random.pick(WEIGHTED);
  const place = placeOf(kind, random);
  const put = (): Operation => ({ does: 'put', ...place, text: hostileObject(place, random, situation) });
  const remove: Operation = { does: 'remove', ...place };
  const dice = random.below(100);
  if (dice < 80) return [put()];
  if (dice < 85) return [remove];
  if (dice < 90)
    return Array.from({ length: 2 + random.below(5) }, () => (random.chance(0.4) ? remove : put()));
  return [random.pick(dice < 99 ? ODD_EVENTS : WATCH_TROUBLE)(kind, put, random)];
}

interface Place {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}

function placeOf(kind: Kind, random: Random): Place {
  if (kind === 'namespaces')
    return { kind, namespace: '', name: random.pick([...STRANGERS, 'evil-odd', 'evil-more']) };
  if (kind === 'nodes') return { kind, namespace: '', name: random.pick(NODE_NAMES) };
  return { kind, namespace: random.pick(STRANGERS), name: random.pick(NAMES) };
}

function hostileObject({ kind, namespace, name }: Place, random: Random, { victim, now }: Situation): string {
  const uid = random.chance(0.9) ? `${kind}-${name}` : `${kind}-${name}-${random.below(1000)}`;
  const object = realisticObject(kind, { namespace, name, uid }, { random, now });
  const isMalicious = random.chance(0.3);
  const text = mutatedJson(object, random, (insert) => {
    if (isMalicious) maliceFor(kind, random)(insert, random, victim);
  });
  // What is larger is never stored. `evil-open` stays open, or nothing there would be looked at.
  return text.length > OBJECT_BYTES || (name === 'evil-open' && !isOpen(text))
    ? JSON.stringify(object)
    : text;
}

function isOpen(text: string): boolean {
  return text.includes('"pullgate.io/mode":"pause"');
}

type Make = (kind: Kind, put: () => Operation, random: Random) => Operation;

const EVENT_TYPES = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'bookmark', '', '__proto__'];

/** What a watch can bring beside a change; none of it is about anybody but strangers. */
const ODD_EVENTS: readonly Make[] = [
  (kind, put, random) => ({ does: 'say', kind, type: random.pick(EVENT_TYPES), text: textOf(put()) }),
  (kind, _, random) => ({ does: 'say', kind, type: random.pick(EVENT_TYPES), text: smallJson(random) }),
  (kind, _, random) => ({
    does: 'say',
    kind,
    type: 'BOOKMARK',
    text: `{"metadata":{"resourceVersion":${random.pick(['"0"', '"99999999999"', '7', 'null', '"x"', '{}'])},"annotations":{"k8s.io/initial-events-end":"true"}}}`,
  }),
];

/** After each of these a watch begins again, after ever longer rests: not too many. */
const WATCH_TROUBLE: readonly Make[] = [
  (kind, _, random) => ({ does: 'cut', kind, midLine: random.chance(0.5) }),
  (kind) => ({ does: 'compact', kind }),
  (kind, _, random) => ({
    does: 'say',
    kind,
    type: 'ERROR',
    text: random.pick([
      '{"kind":"Status","code":410,"reason":"Expired","message":"too old"}',
      `{"kind":"Status","code":"410","message":${JSON.stringify(hostileWords(random))}}`,
      smallJson(random),
    ]),
  }),
  (kind, _, random) => ({
    does: 'nextList',
    kind,
    text: random.pick([
      '{"items":{}}',
      '{"metadata":{"resourceVersion":7},"items":[]}',
      '[]',
      '"text"',
      'not JSON',
      `{"metadata":{"resourceVersion":"1"},"items":[${smallJson(random)}]}`,
    ]),
  }),
  (kind, put, random) => ({ does: 'nextWatch', kind, type: random.pick(EVENT_TYPES), text: textOf(put()) }),
];

function textOf(operation: Operation): string {
  return operation.does === 'put' ? operation.text.replaceAll(VERSION_MARK, '1') : '{}';
}

function smallJson(random: Random): string {
  const text = hostileJson(random);
  return text.length > OBJECT_BYTES ? 'null' : text;
}

/** All that strangers may have made. */
export function placesOfStrangers(): Place[] {
  return KINDS.flatMap((kind): Place[] => {
    if (kind === 'nodes') return NODE_NAMES.map((name) => ({ kind, namespace: '', name }));
    if (kind === 'namespaces')
      return [...STRANGERS, 'evil-more'].map((name) => ({ kind, namespace: '', name }));
    return STRANGERS.flatMap((namespace) => NAMES.map((name) => ({ kind, namespace, name })));
  });
}
