import { GateError } from '../errors.ts';
import { asArray, asString, at } from '../json.ts';
import type { Query } from './api-call.ts';
import type { ApiClient } from './api-client.ts';
import { firstPage, nextPage, type PageLimit, smallerPage } from './page-limit.ts';

export interface ListOptions {
  readonly query?: Query | undefined;
  /** Asked after each page: returns whether the rest need not be read. Default: all is read. */
  readonly isEnough?: (read: { readonly items: number; readonly bytes: number }) => boolean;
  /** Of one page. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Takes the items of one page. They have no `apiVersion` and `kind`. */
  onPage(items: readonly unknown[]): void | Promise<void>;
  /** Takes the metadata of an object that is larger than `MAX_OBJECT_BYTES` and is left out. */
  readonly onLargeObject?: (metadataOnly: unknown) => void;
}

interface Page {
  readonly items: number;
  readonly bytes: number;
  readonly limit: PageLimit;
  /** Of the next page; undefined after the last. */
  readonly next: string | undefined;
  readonly version: string | undefined;
}

/** Asks for the metadata of each object of a list, which is far smaller. */
export const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

/**
 * Reads one snapshot of a collection page by page, and returns its resourceVersion. The pages adapt to the size of the objects, and
 * no page is kept after `onPage` has returned.
 *
 * The snapshot is the newest state, as long as the query has no resourceVersion. With `0` an API server would answer from a cache
 * that may lag behind what the caller has seen, and in one piece.
 */
export async function listPages(
  client: Pick<ApiClient, 'get'>,
  path: string,
  options: ListOptions,
): Promise<string | undefined> {
  const { query, signal, deadlineMs, isEnough, onPage, onLargeObject } = options;

  // A function of its own, because a page would stay in memory for as long as the function that has read it.
  async function readPage(limit: PageLimit, token: string | undefined, accept?: string): Promise<Page> {
    let bytes = 0;
    const page = await client.get(
      path,
      { ...query, limit: limit.items, continue: token },
      {
        ...(signal !== undefined && { signal }),
        ...(deadlineMs !== undefined && { deadlineMs }),
        ...(accept !== undefined && { accept }),
        maxBytes: limit.maxBytes,
        onBytes(read) {
          bytes = read;
        },
      },
    );
    signal?.throwIfAborted();
    const items = asArray(at(page, 'items'));
    if (accept === undefined) await onPage(items);
    else for (const item of items) onLargeObject?.(item);
    return {
      ...{ items: items.length, bytes },
      limit: nextPage(limit, items.length, bytes),
      next: asString(at(page, 'metadata', 'continue')) || undefined,
      version: asString(at(page, 'metadata', 'resourceVersion')),
    };
  }

  async function readSome(wanted: PageLimit, token: string | undefined): Promise<Page> {
    for (let limit = wanted; ; ) {
      try {
        return await readPage(limit, token);
      } catch (error) {
        if (!isTooLarge(error)) throw error;
        const smaller = smallerPage(limit);
        if (smaller === undefined) return await readPage(limit, token, METADATA_ONLY);
        limit = smaller;
      }
    }
  }

  let page: Page = { items: 0, bytes: 0, limit: firstPage(), next: undefined, version: undefined };
  let read = { items: 0, bytes: 0 };
  do {
    page = await readSome(page.limit, page.next);
    read = { items: read.items + page.items, bytes: read.bytes + page.bytes };
  } while (page.next !== undefined && isEnough?.(read) !== true);
  return page.version;
}

function isTooLarge(error: unknown): boolean {
  return error instanceof GateError && error.code === 'PG_API_ANSWER_SIZE';
}
