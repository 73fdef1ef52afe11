/**
 * The most characters that are kept of a text from a registry, a kubelet, a webhook or an API server, which have no limit of their
 * own. The answers that runtimes pass on have up to 400 characters (test/unit/pull-failure.test.ts has them all), and a kubelet lists
 * one for each pull secret, so there is room for ten.
 */
export const TEXT_LIMIT = 4096;
const ELLIPSIS = '…';

/**
 * Returns the text if it has at most `limit` characters. Otherwise returns its beginning, which says what was done, and its end,
 * which says why that failed.
 */
export function elide(text: string, limit = TEXT_LIMIT): string {
  if (text.length <= limit) return text;
  const room = limit - ELLIPSIS.length;
  const head = Math.ceil(room / 2);
  return detached(text.slice(0, head) + ELLIPSIS + text.slice(text.length - (room - head)));
}

/** Returns the text if it has at most `limit` characters, else its beginning and three dots. */
export function beginning(text: string, limit: number): string {
  return text.length <= limit ? text : detached(`${text.slice(0, limit - 3)}...`);
}

/** Returns a copy, because a slice in V8 keeps the whole text in memory. Half of a cut character becomes U+FFFD. */
function detached(text: string): string {
  return Buffer.from(text).toString();
}
