import { GateError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { ApiError, isForbidden, isNotFound } from './api-error.ts';

// Single failures are part of the routine: an API server restarts, a load balancer cuts.
const WARN_AFTER_FAILURES = 3;

/** Returns the path of a collection, such as `/apis/apps/v1/deployments`, in one namespace. */
export function pathIn(path: string, namespace: string): string {
  const end = path.lastIndexOf('/');
  return `${path.slice(0, end)}/namespaces/${encodeURIComponent(namespace)}${path.slice(end)}`;
}

/** `namedError` of an answer of the API server. */
export function isRefusal(error: Error | undefined): boolean {
  if (error instanceof GateError) return error.code === 'PG_CRD_MISSING' || error.code === 'PG_RBAC';
  return error instanceof ApiError;
}

/** Of a key or name with a namespace in front. Each namespace has lines of its own in the log. */
export function namespaceOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')));
}

/**
 * A refusal to open the watch that has nothing to do with where it was to begin. An API server answers 504 while it has not yet
 * reached that resourceVersion. If its etcd was restored from a backup, it never will.
 */
export function isWorthRepeating({ status }: ApiError, failures: number): boolean {
  if (status === 504) return failures < WARN_AFTER_FAILURES;
  return status === 401 || status === 403 || status === 429 || status >= 500;
}

export function namedError(error: unknown, path: string): Error {
  if (isNotFound(error)) return new GateError('PG_CRD_MISSING', { path }, error);
  if (isForbidden(error)) {
    return new GateError('PG_RBAC', { what: `read ${path}`, detail: error.apiMessage }, error);
  }
  return error instanceof Error ? error : new Error(String(error));
}

/** Logs why a collection cannot be followed, each reason once until the next contact. */
export function createFailureLog(log: Logger): { note(error: Error, failures: number): void; reset(): void } {
  let logged: string | undefined;
  return {
    note(error, failures) {
      const text = error.message;
      if (text === logged) return;
      if (error instanceof GateError && (error.code === 'PG_CRD_MISSING' || error.code === 'PG_RBAC')) {
        log.error({ code: error.code }, text);
      } else if (failures >= WARN_AFTER_FAILURES) {
        log.warn({ failures }, `cannot watch the collection: ${text}`);
      } else {
        log.debug({ err: error }, 'the watch broke');
        return;
      }
      logged = text;
    },
    reset() {
      logged = undefined;
    },
  };
}
