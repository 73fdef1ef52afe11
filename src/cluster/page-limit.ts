import { MAX_OBJECT_BYTES } from './object-size.ts';

/** The bounds of one page of a list. */
export interface PageLimit {
  readonly items: number;
  /** The client stops reading a page with more text. */
  readonly maxBytes: number;
}

const MIB = 1024 * 1024;
/**
 * A fifth of what client-go and kubectl ask for: a page is held as bytes, text and objects at once, and pages of 500 Deployments
 * and nodes of 10 KB made a gate that starts 60 to 130 MB larger.
 */
const MOST_ITEMS = 100;
/** The text of a hundred objects of 10 KB. */
const WANTED_BYTES = MIB;
/** Text such as `[[],[],...]` takes 100 ms to parse at this size, and 13 times the memory. */
const MAX_PAGE_BYTES = 2 * MIB;

export function firstPage(): PageLimit {
  return pageOf(MOST_ITEMS);
}

/** Returns the bounds of the page after one with so many items and bytes. Pages grow slowly, as the next objects may be large. */
export function nextPage(before: PageLimit, items: number, bytes: number): PageLimit {
  const fitting = items === 0 ? MOST_ITEMS : Math.floor((WANTED_BYTES * items) / bytes);
  return pageOf(Math.min(fitting, before.items * 2));
}

/** Returns the bounds to retry a page with that was too large; undefined if it had a single object. */
export function smallerPage({ items }: PageLimit): PageLimit | undefined {
  return items === 1 ? undefined : pageOf(Math.floor(items / 8));
}

function pageOf(wanted: number): PageLimit {
  const items = Math.max(1, Math.min(MOST_ITEMS, wanted));
  return { items, maxBytes: items === 1 ? MAX_OBJECT_BYTES : MAX_PAGE_BYTES };
}
