import type { PullerPod } from '../pods/puller-pod-status.ts';
import { type Line, type Standing, shareAmong, wantedOf } from './fair-share.ts';

/** A pull that is under way and takes one of the places for pulls. */
export interface Place {
  readonly pod: PullerPod;
  /** A rollout or a rejected update waits for it. */
  readonly urgent: boolean;
  /** When it took its place, in ms since the epoch, by the gate's clock. */
  readonly since: number;
  /**
   * - `queued`: its pod has not been requested yet, so nothing is lost if the pull ends.
   * - `pulling`: its pod can be deleted.
   * - `leaving`: its pod is being deleted, so the place will be free in a moment.
   * - `creating`: the pod has been requested, and the API server has not answered.
   * - `stuck`: its pod should be gone, and is still there. It counts for the share of its namespace, but not for the cap: a namespace
   *   in which no pod can be deleted would keep the places of all others.
   */
  readonly state: 'queued' | 'pulling' | 'leaving' | 'creating' | 'stuck';
}

export interface TakenBack {
  /** Past the time that the gate gives a pull. */
  readonly overdue: readonly Place[];
  /** More than its namespace's share. */
  readonly surplus: readonly Place[];
  /** When time alone could change the answer, unless a deletion does not come to its end. */
  readonly nextAt: number | undefined;
}

/**
 * How long a pull keeps its place even if its namespace has more than its share. Most pulls end within that time, and then no work is
 * lost.
 */
const TENURE_MS = 10_000;

/** The places of one namespace. */
interface Account {
  urgent: number;
  all: number;
  /** Places that may be taken back. The youngest is last, because it loses the least. */
  readonly ripe: { readonly urgent: Place[]; readonly other: Place[] };
  wants: { urgent: number; other: number };
}

/**
 * Returns the pulls that give their places to preloads that get none:
 *
 * - any pull that has run for longer than `timeoutMs`;
 * - any pull that is not urgent, for an urgent one; but where a place is reserved for those that are not urgent, one of them stays,
 *   and an urgent pull gives its place to the first of them;
 * - otherwise a pull of a namespace that has at least two places more than the one that gets the place. With a difference of one, the
 *   place would go back and forth.
 * @param free places that nobody has taken yet
 */
export function placesToTakeBack(input: {
  readonly places: readonly Place[];
  readonly free: number;
  readonly lines: readonly Line[];
  readonly servedAt: Standing['servedAt'];
  readonly now: number;
  readonly timeoutMs: number;
  /** Whether one place is for pulls that are not urgent. */
  readonly isReserved: boolean;
}): TakenBack {
  const { places, free, now, timeoutMs, isReserved } = input;
  const accounts = new Map<string, Account>();
  let lines = input.lines;
  /** Places of pulls that are not urgent. */
  let others = 0;

  const account = (namespace: string): Account => {
    const known = accounts.get(namespace);
    if (known !== undefined) return known;
    const ripe = { urgent: [], other: [] };
    const made: Account = { urgent: 0, all: 0, ripe, wants: { urgent: 0, other: 0 } };
    accounts.set(namespace, made);
    return made;
  };
  const count = (namespace: string, urgent: boolean, by: number) => {
    const of = account(namespace);
    of.all += by;
    if (urgent) of.urgent += by;
    else others += by;
  };
  /** As if these places were free already. */
  const promise = (places: number) => {
    const taken = (namespace: string, urgentOnly: boolean) =>
      account(namespace)[urgentOnly ? 'urgent' : 'all'];
    const reserved = Number(isReserved && others === 0);
    const shares = shareAmong(places, lines, { taken, servedAt: input.servedAt }, reserved);
    lines = lines.map((line) => {
      const share = shares.get(line) ?? 0;
      count(line.namespace, line.urgent, share);
      return { ...line, wanted: line.wanted - share };
    });
  };

  const staying = places.filter(({ state }) => state !== 'leaving');
  for (const { pod, urgent } of staying) count(pod.namespace, urgent, 1);
  others -= staying.filter(({ urgent, state }) => !urgent && state === 'stuck').length;
  promise(free + places.length - staying.length);

  const isOverdue = ({ since, state }: Place) => state === 'pulling' && now - since >= timeoutMs;
  const overdue = staying
    .filter(isOverdue)
    .sort((a, b) => a.since - b.since)
    .slice(0, wantedOf(lines));
  for (const { pod, urgent } of overdue) count(pod.namespace, urgent, -1);
  promise(overdue.length);

  const gone = new Set(overdue);
  const isRipe = ({ state, since }: Place) =>
    state === 'queued' || (state === 'pulling' && now - since >= TENURE_MS);
  const ripe = staying.filter((place) => isRipe(place) && !gone.has(place));
  const byAge = ({ since, state }: Place) => (state === 'queued' ? Number.POSITIVE_INFINITY : since);
  for (const place of ripe.sort((a, b) => (byAge(a) < byAge(b) ? -1 : 1)))
    account(place.pod.namespace).ripe[place.urgent ? 'urgent' : 'other'].push(place);
  for (const { namespace, urgent, wanted } of lines)
    account(namespace).wants[urgent ? 'urgent' : 'other'] += wanted;

  const cap = free + places.filter(({ state }) => state !== 'stuck').length;
  const surplus = level([...accounts.values()], { cap, others: isReserved ? others : undefined });
  const isLeft = wantedOf(lines) > surplus.length;
  return { overdue, surplus, nextAt: isLeft ? nextAt(staying, now, timeoutMs) : undefined };
}

/**
 * Moves places one by one from the namespace with the most to the one with the fewest. One that has `cap` places, because some are stuck,
 * gets no more but for its own. `others`: how many pulls that are not urgent have a place, if one is reserved for them.
 */
function level(
  accounts: readonly Account[],
  { cap, others }: { readonly cap: number; readonly others: number | undefined },
): Place[] {
  let unreserved = others === undefined ? Number.POSITIVE_INFINITY : others - 1;
  const surplus: Place[] = [];
  function move(to: Account, from: Account, kind: 'urgent' | 'other', given: 'urgent' | 'other'): void {
    const place = from.ripe[given].pop();
    if (place === undefined) return;
    surplus.push(place);
    from.all -= 1;
    if (given === 'urgent') from.urgent -= 1;
    to.all += 1;
    if (kind === 'urgent') to.urgent += 1;
    to.wants[kind] -= 1;
  }
  function step(kind: 'urgent' | 'other'): boolean {
    const has = (of: Account) => (kind === 'urgent' ? of.urgent : of.all);
    const poorest = least(
      accounts.filter(({ wants }) => wants[kind] > 0),
      has,
    );
    if (poorest === undefined) return false;
    const givers = poorest.all < cap ? accounts : [poorest];
    const giving = (what: 'urgent' | 'other', count: (of: Account) => number) =>
      least(
        givers.filter(({ ripe }) => ripe[what].length > 0),
        (of) => -count(of),
      );
    const mayLower = kind === 'urgent' && unreserved > 0;
    const lower = mayLower ? giving('other', (of) => of.all + Number(of === poorest)) : undefined;
    if (lower !== undefined) {
      move(poorest, lower, kind, 'other');
      unreserved -= 1;
      return true;
    }
    const higher = kind === 'other' && unreserved < 0 ? giving('urgent', (of) => of.urgent) : undefined;
    if (higher !== undefined) {
      move(poorest, higher, kind, 'urgent');
      unreserved += 1;
      return true;
    }
    if (poorest.all >= cap) {
      poorest.wants[kind] = 0;
      return true;
    }
    const richest = giving(kind, has);
    if (richest === undefined || has(richest) < has(poorest) + 2) return false;
    move(poorest, richest, kind, kind);
    return true;
  }
  for (const kind of ['urgent', 'other'] as const) while (step(kind)) {}
  return surplus;
}

function least<T>(items: readonly T[], by: (item: T) => number): T | undefined {
  let found: T | undefined;
  for (const item of items) if (found === undefined || by(item) < by(found)) found = item;
  return found;
}

function nextAt(staying: readonly Place[], now: number, timeoutMs: number): number | undefined {
  const times = staying
    .filter(({ state }) => state === 'pulling' || state === 'creating')
    .flatMap(({ since }) => [since + TENURE_MS, since + timeoutMs])
    .filter((time) => time > now);
  return times.length === 0 ? undefined : times.reduce((a, b) => Math.min(a, b));
}
