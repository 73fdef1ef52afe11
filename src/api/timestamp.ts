/** RFC 3339 with nanoseconds and an offset has 35 characters. */
const LONGEST = 63;

/**
 * A Kubernetes time (RFC 3339) in milliseconds; `undefined` if there is none. The epoch itself does not count as a time: a runtime
 * writes it for a container that never started.
 */
export function parseTimestamp(value: unknown): number | undefined {
  const time = typeof value === 'string' && value.length <= LONGEST ? Date.parse(value) : Number.NaN;
  return time > 0 ? time : undefined;
}
