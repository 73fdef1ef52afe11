import { asString, at } from '../../../src/json.ts';
import type { Moment } from './history.ts';

/**
 * The same moments in the order in which they were stored, each at the earliest time that is known of it.
 *
 * Each kind has a watch of its own, and on a busy machine one lags behind another: the pod that a release brings may be heard of
 * before the release. A resourceVersion is a revision of etcd, one count for all kinds. So whatever has a lower one was stored
 * when the other was heard of. A deletion has no version of its own. It comes before the next object of the same name.
 */
export function inStoredOrder(moments: readonly Moment[]): Moment[] {
  const all = moments.map((moment) => ({ ...moment, version: versionOf(moment) }));
  const byVersion = all.filter(({ version }) => version !== undefined);
  byVersion.sort((a, b) => (b.version ?? 0) - (a.version ?? 0));
  let earliest = Number.POSITIVE_INFINITY;
  for (const one of byVersion) {
    earliest = Math.min(earliest, one.at);
    one.at = earliest;
  }
  const madeAnew = new Map<string, number>();
  for (const one of all.toReversed()) {
    const key = `${one.kind} ${one.name}`;
    if (one.version === undefined) one.at = Math.min(one.at, madeAnew.get(key) ?? one.at);
    else madeAnew.set(key, one.at);
  }
  return all
    .sort((a, b) => a.at - b.at || (a.version ?? 0) - (b.version ?? 0))
    .map(({ version, ...moment }) => moment);
}

function versionOf({ object }: Moment): number | undefined {
  const text = asString(at(object, 'metadata', 'resourceVersion'));
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
