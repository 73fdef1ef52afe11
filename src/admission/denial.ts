import type { PreloadProgress } from '../api/preload-progress.ts';
import type { RunningLookup } from '../api/running-lookup.ts';
import { beginning } from '../text.ts';

/** `status` of an AdmissionReview's response that denies. */
export interface Denial {
  readonly code: 403 | 429;
  readonly reason: 'Forbidden' | 'TooManyRequests';
  readonly message: string;
  /** If it is set, client-go (kubectl, Helm, Argo CD, Flux) retries the request up to 10 times. */
  readonly retryAfterSeconds?: number;
}

/** kubectl sleeps for the whole time, even if the preload is done sooner. */
const LONGEST_WAIT_SECONDS = 30;
/** After an answer that found nothing out: the Deployment has changed meanwhile, or the API server was too busy. */
const AGAIN_SECONDS = 1;
const SHORTEST_WAIT_SECONDS = 2;
/** An image's name may have 1024 characters and a template any number of them. So may a user's name. */
const WORDS_LIMIT = 512;

export function forbidden(message: string): Denial {
  return { code: 403, reason: 'Forbidden', message };
}

/** Why an update that cannot be held is denied. `exceeded`: in words, such as `tolerations has 200 entries, more than 100`. */
export function overLimit(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  exceeded: string,
  username: string,
): Denial {
  return forbidden(
    `pullgate: the update of ${namespace}/${name} is denied: ${exceeded}, so Pullgate cannot hold the rollout, and ` +
      `${beginning(username, WORDS_LIMIT)} may not bypass. Make the Deployment smaller, or ask a user who has the verb bypass on ` +
      'imagepreloads.pullgate.io to send this update',
  );
}

/** Returns why a review that is too large to read is denied where the permission to bypass is needed. */
export function unreadDenial(why: string): Denial {
  return forbidden(
    `pullgate: the update is denied, because Pullgate cannot read it and --bypass-needs-permission is set: ${why}`,
  );
}

const WHY_NOT_BACK = {
  gone: 'no ReplicaSet has the running template any more. Apply the previous manifest again',
  notAllowed:
    'Pullgate may not list ReplicaSets there. Apply the roles of this version (deploy/rbac.yaml), or the previous manifest again',
  unanswered: 'the API server did not answer within 1 s. Run the same command again to retry',
} as const satisfies Record<Exclude<RunningLookup['kind'], 'found'>, string>;

/** Returns why a Deployment does not go back to the running template. */
export function revertDenial(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  why: keyof typeof WHY_NOT_BACK,
): Denial {
  const message = `pullgate: ${namespace}/${name} stays held: ${WHY_NOT_BACK[why]}`;
  if (why !== 'unanswered') return forbidden(message);
  return { code: 429, reason: 'TooManyRequests', message, retryAfterSeconds: AGAIN_SECONDS };
}

/**
 * Returns why an update is not let through yet. `progress` is absent if it was not looked up. A dry run gets no
 * `retryAfterSeconds`, because nothing is preloaded for it.
 */
export function rejection(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  preload: string,
  images: readonly string[],
  progress: PreloadProgress | undefined,
  dryRun: boolean,
): Denial {
  const id = `${namespace}/${name}`;
  const look = `kubectl -n ${namespace} get ipl ${preload}`;
  if (progress?.outcome.kind === 'fail') {
    return forbidden(
      `pullgate: update of ${id} rejected; the running version is unchanged: ${progress.outcome.message}; see ${look}`,
    );
  }
  const denial = { code: 429, reason: 'TooManyRequests' } as const;
  if (dryRun && !isUnknown(progress) && !hasBegun(progress)) {
    const message = `pullgate: ${id} would wait until its nodes have ${beginning(images.join(', '), WORDS_LIMIT)}; a dry run preloads nothing`;
    return { ...denial, message };
  }
  const wait = isUnknown(progress)
    ? WHY_UNKNOWN[progress.outcome.kind](id, progress.trouble)
    : `${id} waits until its nodes have ${beginning(images.join(', '), WORDS_LIMIT)}: ${howFar(progress)}; see ${look}`;
  return {
    ...denial,
    message: `pullgate: ${wait}. Run the same command again to retry`,
    ...(!dryRun && { retryAfterSeconds: retryAfter(progress) }),
  };
}

const WHY_UNKNOWN = {
  stale: (id: string) => `${id} changed while it was being checked`,
  crowded: (id: string) =>
    `too many updates of this namespace wait for their ImagePreloads to be created, so that of ${id} is not created yet`,
  unanswered: (id: string, trouble: string | undefined) => {
    const why =
      trouble === undefined
        ? 'the API server did not answer in time'
        : `the API server could not answer (${beginning(trouble, WORDS_LIMIT)})`;
    return `${why}, so the progress of the preload of ${id} is unknown`;
  },
};

function isUnknown(
  progress: PreloadProgress | undefined,
): progress is PreloadProgress & { readonly outcome: { readonly kind: keyof typeof WHY_UNKNOWN } } {
  return progress !== undefined && Object.hasOwn(WHY_UNKNOWN, progress.outcome.kind);
}

function hasBegun(progress: PreloadProgress | undefined): progress is PreloadProgress {
  return progress !== undefined && progress.desiredNodes > 0;
}

function howFar(progress: PreloadProgress | undefined): string {
  if (!hasBegun(progress)) return 'the preload has not begun yet';
  const { readyNodes, desiredNodes, elapsedSeconds, remainingSeconds, trouble } = progress;
  const why = trouble === undefined ? '' : ` (${beginning(trouble, WORDS_LIMIT)})`;
  const far = `${readyNodes} of ${desiredNodes} nodes after ${Math.round(elapsedSeconds)} s${why}`;
  return remainingSeconds === undefined
    ? far
    : `${far}, about ${Math.ceil(remainingSeconds)} s more at the pace of the slowest node so far`;
}

/**
 * Until a remaining time is known, the wait is as long as the preload has run so far. So short preloads are seen at once, and
 * ten waits take 3 minutes.
 */
function retryAfter(progress: PreloadProgress | undefined): number {
  if (progress === undefined) return SHORTEST_WAIT_SECONDS;
  if (isUnknown(progress)) return AGAIN_SECONDS;
  const seconds = progress.remainingSeconds ?? Math.max(progress.elapsedSeconds, SHORTEST_WAIT_SECONDS);
  return Math.min(Math.max(Math.ceil(seconds), 1), LONGEST_WAIT_SECONDS);
}
