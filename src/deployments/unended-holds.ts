import { LRUCache } from 'lru-cache';
import { letThrough } from '../api/commands.ts';
import type { Deployment } from '../api/deployment.ts';
import { ownHold } from '../api/hold.ts';
import type { Clock } from '../clock.ts';
import { ApiError, isConflict, isInvalid, isNotFound, isUnanswered } from '../cluster/api-error.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference } from '../cluster/object-reference.ts';
import { GateError } from '../errors.ts';
import { elide } from '../text.ts';
import type { NextStep } from './next-step.ts';

type End = NextStep & { readonly step: 'release' | 'drop' | 'recover' };

/** Reports holds that should end while the API server does not take the update that ends them. */
export interface UnendedHolds {
  tried(deployment: Deployment): void;
  failed(deployment: Deployment, step: End, error: unknown): void;
  ended(deployment: Deployment): void;
}

/** A webhook that is down, or a Deployment that has changed, is reported only if it lasts longer than this. */
const TOLD_AFTER_MS = 5000;
const REMEMBERED = 1000;
/** Room for the words of a webhook or a policy, so that what follows them is not cut. */
const WORDS_CHARACTERS = 500;

export function createUnendedHolds({
  clock,
  writeEvent,
}: {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly writeEvent: (event: GateEvent) => void;
}): UnendedHolds {
  /** Of `clock.monotonic`, when the end was first tried, by uid of the Deployment. */
  const since = new LRUCache<string, number>({ max: REMEMBERED });
  return {
    tried({ uid }) {
      if (!since.has(uid)) since.set(uid, clock.monotonic());
    },
    failed(deployment, step, error) {
      const words = wordsOf(error);
      if (words === undefined || isNotFound(error) || isConflict(error)) return;
      const lasts = clock.monotonic() - (since.get(deployment.uid) ?? clock.monotonic()) >= TOLD_AFTER_MS;
      // A test of the patch that fails is a 422 as well.
      const mayPass = isInvalid(error) || isUnanswered(error);
      if (!mayPass || lasts) writeEvent(releaseFailedFact(deployment, step, words));
    },
    ended: ({ uid }) => void since.delete(uid),
  };
}

/** Returns undefined if the API server cannot be reached: then it takes no Event either. */
function wordsOf(error: unknown): string | undefined {
  if (error instanceof ApiError) return error.apiMessage;
  if (!(error instanceof GateError) || error.code !== 'PG_API_TIMEOUT') return undefined;
  return error.cause instanceof ApiError ? error.cause.apiMessage : error.message;
}

function releaseFailedFact(deployment: Deployment, step: End, words: string): GateEvent {
  const hold = ownHold(deployment);
  return {
    type: 'Warning',
    reason: 'ReleaseFailed',
    action: 'Release',
    regarding: deploymentReference(deployment),
    note: noteEnding(
      `${whatFails(step)}, but the API server refused the update: ${elide(words, WORDS_CHARACTERS)}`,
      'the Deployment stays paused, and the update is retried automatically',
      "exempt Pullgate's account from the webhook or policy that refuses it",
      hold && `release it now: ${letThrough(deployment)}`,
    ),
    // Without the words: they may have another number each time.
    dedupKey: `${deployment.uid} ${hold?.since ?? deployment.generation} ${whatFails(step)}`,
  };
}

function whatFails(step: End): string {
  return step.step === 'recover'
    ? 'the condition Progressing has to be reset before the hold ends'
    : `the hold should end (${step.reason})`;
}
