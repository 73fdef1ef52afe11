/** `3` or `'25%'`: at once what the API object holds and what has been checked. */
export type CountOrPercent = number | `${number}%`;

/** `3`, `"3"` or `"25%"`, from 1 and up to `100%`; `undefined` for anything else. */
export function parseCountOrPercent(value: unknown): CountOrPercent | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 1 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  // The pattern of deploy/crd.yaml is the same. Nine digits: an int32 whatever they are.
  if (/^[1-9][0-9]{0,8}$/.test(value)) return Number(value);
  const percent = /^([1-9][0-9]?|100)%$/.exec(value)?.[1];
  return percent === undefined ? undefined : `${Number(percent)}%`;
}

/** Of `total`: a percentage is rounded up, a count is no more than there is; at least 1 unless `total` is 0. */
export function resolveCountOrPercent(value: CountOrPercent, total: number): number {
  const count = typeof value === 'number' ? value : Math.ceil((total * Number(value.slice(0, -1))) / 100);
  return Math.min(Math.max(count, 1), total);
}

/** Returns whether `value` resolves to at least as many as `floor` whatever the total is. */
export function isAtLeast(value: CountOrPercent, floor: CountOrPercent): boolean {
  if (value === '100%' || floor === 1) return true;
  // Of a percentage and a count either can be the larger one.
  if (typeof value !== typeof floor) return false;
  return Number.parseInt(`${value}`, 10) >= Number.parseInt(`${floor}`, 10);
}
