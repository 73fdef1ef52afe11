import type { ImagePreload } from '../api/image-preload.ts';
import type { Trim } from '../cluster/object-cache.ts';
import { trimPreload } from './trimmed-preload.ts';

/**
 * How much of one namespace is served at a time. Anybody with `edit` there may make any number of ImagePreloads.
 *
 * - `preloads`: each takes up to 320 KiB in the cache (docs/security.md), so this is 64 MB of the 512 MB of the container at the very
 *   most, and usually 1 MB. More than 200 Deployments of one namespace seldom change at the same time.
 * - `pulls`: images times nodes. To look at 500,000 pulls takes 150 ms, and that happens up to once a second when nodes change. It is one
 *   ImagePreload of 100 images on 5,000 nodes, the largest that there is, so each of them can be served.
 */
export const SERVED_LIMITS = { preloads: 200, pulls: 500_000 };

/**
 * Decides which ImagePreloads are served. Those that a rollout or a rejected update waits for always are, and count. Of the others, the
 * oldest are, as far as there is room in their namespace. One that is served stays so until it has finished.
 */
export interface ServedPreloads extends Trim<ImagePreload> {
  /** Call it for each change, after the cache shows it. */
  changed(key: string, preload: ImagePreload | undefined): void;
  /** Returns whether it is served. It is from now on if it is urgent. */
  take(key: string, preload: ImagePreload, urgent: boolean): boolean;
  /** Nothing needs it any more. It keeps its place until it has finished. */
  rest(key: string, preload: ImagePreload): void;
  /** Returns how many wait in the namespace. */
  waiting(namespace: string): number;
  /** Begins to serve. Until then, not all of them are known, and the oldest comes first. */
  start(): void;
}

export interface ServedPreloadsOptions {
  readonly get: (key: string) => ImagePreload | undefined;
  /** Has the cache keep less of the ImagePreload. */
  readonly trim: (key: string) => void;
  readonly nodes: () => number;
  /** Called with the key of one that is served from now on. */
  readonly wake: (key: string) => void;
}

interface Place {
  readonly namespace: string;
  readonly uid: string;
  readonly pulls: number;
  urgent: boolean;
}

interface Share {
  places: number;
  pulls: number;
  readonly waiting: Set<string>;
}

export function createServedPreloads(options: ServedPreloadsOptions): ServedPreloads {
  const places = new Map<string, Place>();
  const shares = new Map<string, Share>();
  let started = false;

  function shareOf(namespace: string): Share {
    const share = shares.get(namespace) ?? { places: 0, pulls: 0, waiting: new Set<string>() };
    shares.set(namespace, share);
    return share;
  }

  function pullsOf({ spec, trimmed }: ImagePreload): number {
    return (trimmed?.images ?? spec.images.length) * options.nodes();
  }

  function hasRoom(share: Share, pulls: number): boolean {
    if (share.places === 0) return true;
    return share.places < SERVED_LIMITS.preloads && share.pulls + pulls <= SERVED_LIMITS.pulls;
  }

  function canGive(preload: ImagePreload): boolean {
    const share = shareOf(preload.namespace);
    return started && share.waiting.size === 0 && hasRoom(share, pullsOf(preload));
  }

  function give(key: string, preload: ImagePreload, urgent = false): void {
    const { namespace, uid } = preload;
    const share = shareOf(namespace);
    const pulls = pullsOf(preload);
    places.set(key, { namespace, uid, pulls, urgent });
    share.waiting.delete(key);
    share.places += 1;
    share.pulls += pulls;
  }

  function leave(key: string, namespace: string): void {
    const share = shares.get(namespace);
    if (share === undefined) return;
    share.waiting.delete(key);
    const place = places.get(key);
    if (place !== undefined) {
      places.delete(key);
      share.places -= 1;
      share.pulls -= place.pulls;
      fill(share);
    }
    if (share.places === 0 && share.waiting.size === 0) shares.delete(namespace);
  }

  function fill(share: Share): void {
    while (started && share.waiting.size > 0) {
      const [key, preload] = first(share);
      if (preload !== undefined && !hasRoom(share, pullsOf(preload))) return;
      share.waiting.delete(key);
      if (preload === undefined) continue;
      give(key, preload);
      options.wake(key);
    }
  }

  function first({ waiting }: Share): readonly [string, ImagePreload | undefined] {
    let best: readonly [string, ImagePreload | undefined] = ['', undefined];
    for (const key of waiting) {
      const preload = options.get(key);
      if (preload === undefined) return [key, undefined];
      if (best[1] === undefined || isBefore(preload, best[1])) best = [key, preload];
    }
    return best;
  }

  function isWhole(preload: ImagePreload): boolean {
    if (preload.deleting) return false;
    const isFinished = preload.status?.finishedAt !== undefined;
    // Nothing is pulled for it, and its status says why.
    if (preload.refused !== undefined && !isFinished) return true;
    const place = places.get(`${preload.namespace}/${preload.name}`);
    return place?.uid === preload.uid && (place.urgent || !isFinished);
  }

  function changed(key: string, preload: ImagePreload | undefined): void {
    const namespace = key.slice(0, Math.max(0, key.indexOf('/')));
    if (preload === undefined || places.get(key)?.uid !== preload.uid) leave(key, namespace);
    if (preload === undefined || isWhole(preload)) return;
    const needsPlace = !preload.deleting && preload.status?.finishedAt === undefined;
    if (!needsPlace) leave(key, namespace);
    else if (canGive(preload)) give(key, preload);
    else shareOf(namespace).waiting.add(key);
    if (!isWhole(preload)) options.trim(key);
  }

  return {
    isWhole,
    less: trimPreload,
    changed,
    take(key, preload, urgent) {
      const place = places.get(key);
      if (place?.uid === preload.uid) {
        place.urgent = urgent;
        return true;
      }
      if (!urgent) return false;
      leave(key, preload.namespace);
      give(key, preload, true);
      return true;
    },
    rest(key, preload) {
      const place = places.get(key);
      if (place !== undefined) place.urgent = false;
      changed(key, preload);
    },
    waiting: (namespace) => shares.get(namespace)?.waiting.size ?? 0,
    start() {
      started = true;
      for (const share of shares.values()) fill(share);
    },
  };
}

/** What another leader has begun comes first: nodes may be pulling. */
function isBefore(a: ImagePreload, b: ImagePreload): boolean {
  const begun = (preload: ImagePreload) => Number(preload.status?.startedAt !== undefined);
  const order = begun(b) - begun(a) || a.createdAt - b.createdAt;
  return order === 0 ? a.name < b.name : order < 0;
}
