import { GateError } from '../errors.ts';
import { asNumber, asString, at } from '../json.ts';
import { elide } from '../text.ts';

/** Of Kubernetes' own the longest has 22 characters. */
const REASON_LIMIT = 63;

/** The API server's refusal, from the Status object in its answer. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status. */
  readonly status: number;
  /** The Status' machine-readable word, such as `AlreadyExists`; empty if the answer had none. */
  readonly reason: string;
  /** The Status' text, without anything of ours. A webhook or a policy may have written it: cut to `TEXT_LIMIT`. */
  readonly apiMessage: string;
  /** From the Retry-After header, if there was one. */
  readonly retryAfterMs: number | undefined;

  /** @param body the parsed Status, or the text of an answer that was not JSON */
  constructor(status: number, body: unknown, retryAfterMs?: number) {
    const reason = elide(asString(at(body, 'reason')) ?? '', REASON_LIMIT);
    const text = elide(asString(at(body, 'message')) ?? asString(body) ?? '');
    super(`the API server answered ${status}${reason && ` ${reason}`}: ${text}`);
    this.status = status;
    this.reason = reason;
    this.apiMessage = text;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The error that a watch sends as an event: a Status with the code inside. */
export function apiErrorOfStatus(status: unknown): ApiError {
  return new ApiError(asNumber(at(status, 'code')) ?? 500, status);
}

export const isForbidden = (error: unknown): error is ApiError => hasStatus(error, 403);
/**
 * The authorizer said no, in the words of apiserver/pkg/endpoints/handlers/responsewriters/errors.go. Quotas, policies and
 * namespaces being deleted answer 403 too.
 */
export const isMissingRight = (error: unknown): error is ApiError =>
  isForbidden(error) && /User "[^"]*" cannot /.test(error.apiMessage);
export const isNotFound = (error: unknown): error is ApiError => hasStatus(error, 404);
/** The object has changed since it was read. AlreadyExists is 409 too, but something else. */
export const isConflict = (error: unknown): error is ApiError =>
  hasStatus(error, 409) && !isAlreadyExists(error);
export const isAlreadyExists = (error: unknown): error is ApiError =>
  error instanceof ApiError && error.status === 409 && error.reason === 'AlreadyExists';
/** Fails validation, or a `test` of a JSON patch did not hold. */
export const isInvalid = (error: unknown): error is ApiError => hasStatus(error, 422);

/** The API server is away or too busy: the next attempt may well succeed. */
export const isUnanswered = (error: unknown): boolean =>
  (error instanceof ApiError && (error.status === 429 || error.status >= 500)) ||
  (error instanceof GateError && (error.code === 'PG_API_TIMEOUT' || error.code === 'PG_API_UNREACHABLE'));

function hasStatus(error: unknown, status: number): error is ApiError {
  return error instanceof ApiError && error.status === status;
}

/** Returns what went wrong: the API server's own words if it answered. */
export function describeError(error: unknown): string {
  if (error instanceof ApiError) return error.apiMessage;
  return error instanceof Error ? error.message : String(error);
}
