/**
 * Characters that are kept of a text that somebody else wrote: a registry, a kubelet, a webhook, an API server. Such texts have no
 * limit of their own. The answers that runtimes pass on have up to 400 characters (test/unit/pull-failure.test.ts has them all),
 * and a kubelet lists one for each pull secret: this is room for ten.
 */
export const TEXT_LIMIT = 4096;
const ELLIPSIS = '…';

/**
 * Returns the text if it has at most `limit` characters, else its beginning and its end: what was done stands first, and
 * why it failed last.
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

/** A copy: V8 makes a slice refer to the whole text, which would stay in memory. Half of a cut character becomes U+FFFD. */
function detached(text: string): string {
  return Buffer.from(text).toString();
}
