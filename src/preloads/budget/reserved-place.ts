import type { Line } from './fair-share.ts';
import type { Place } from './take-back.ts';

/** Says when one place is reserved for pulls that are not urgent, because urgent ones have kept all of them from starting. */
export interface ReservedPlace {
  /**
   * @param now of `clock.monotonic`
   * @returns whether a place is reserved, and otherwise in how many ms it will be if nothing changes
   */
  look(
    places: readonly Place[],
    lines: Iterable<Line>,
    now: number,
  ): { readonly isReserved: boolean; readonly inMs: number | undefined };
}

/** Longer than most rollouts take to preload. */
const AGING_MS = 300_000;

/**
 * Urgent pulls come first, and a namespace may want them without end. So once pulls that are not urgent have waited for that long while
 * none of them had a place, one place is theirs for as long as any of them waits or runs.
 */
export function createReservedPlace(cap: number): ReservedPlace {
  let starvingSince: number | undefined;
  let isReserved = false;
  return {
    look(places, lines, now) {
      const isWaiting = [...lines].some(({ urgent, wanted }) => !urgent && wanted > 0);
      const isServed = places.some(
        ({ urgent, state }) => !urgent && state !== 'leaving' && state !== 'stuck',
      );
      starvingSince = isWaiting && !isServed ? (starvingSince ?? now) : undefined;
      if (!isWaiting && !isServed) isReserved = false;
      // The only place is never reserved, because urgent pulls would starve.
      else if (cap > 1 && starvingSince !== undefined && now - starvingSince >= AGING_MS) isReserved = true;
      const inMs = isReserved || starvingSince === undefined ? undefined : starvingSince + AGING_MS - now;
      return { isReserved, inMs: cap > 1 ? inMs : undefined };
    },
  };
}
