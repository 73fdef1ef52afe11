import { type Clock, wait } from '../clock.ts';
import type { ApiClient } from '../cluster/api-client.ts';
import { isForbidden } from '../cluster/api-error.ts';
import { GateError } from '../errors.ts';
import { asString, at } from '../json.ts';
import type { Logger } from '../log.ts';

/** The oldest supported Kubernetes: match conditions and ValidatingAdmissionPolicy are generally available there. */
const OLDEST: ServerVersion = { major: 1, minor: 30 };

/** Milliseconds between two questions while the API server does not answer. */
const POLL_MS = 5000;

interface ServerVersion {
  readonly major: number;
  readonly minor: number;
}

export interface VersionCheck {
  /** URL of the API server, for the error and the log. */
  readonly server: string;
  /** Whether a server older than the supported ones is accepted, with a warning in the log. */
  readonly unsupportedServer: boolean;
  readonly log: Logger;
}

/**
 * Asks the API server once for its version.
 * @throws GateError PG_SERVER_VERSION for a server that is too old, PG_API_ANSWER for an answer without a version; what
 * ApiClient throws
 */
export async function checkServerVersion(
  client: Pick<ApiClient, 'get'>,
  { server, unsupportedServer, log }: VersionCheck,
  signal?: AbortSignal,
): Promise<void> {
  const found = parseVersion(await client.get('/version', undefined, signal && { signal }));
  if (found === undefined) {
    throw new GateError('PG_API_ANSWER', { server, call: 'GET /version', detail: 'no version' });
  }
  const version = `${found.major}.${found.minor}`;
  if (isSupported(found)) {
    log.info({ server, version }, 'Kubernetes version');
  } else if (unsupportedServer) {
    log.warn(
      { server, version },
      'this Kubernetes version is not supported; features that need a newer one are absent',
    );
  } else {
    throw new GateError('PG_SERVER_VERSION', { server, version });
  }
}

/**
 * Resolves when the API server has said that its version is supported. An outage of the API server must not end a replica,
 * so every other error is logged, and the question is asked again.
 * @throws GateError PG_SERVER_VERSION; the reason of the signal
 */
export async function awaitSupportedServer(
  client: Pick<ApiClient, 'get'>,
  check: VersionCheck,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  let logged: string | undefined;
  for (;;) {
    try {
      return await checkServerVersion(client, check, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof GateError && error.code === 'PG_SERVER_VERSION') throw error;
      logged = logOnce(error, logged, check.log);
    }
    await wait(clock, POLL_MS, signal);
  }
}

/** Logs the error unless its text is the one that was logged last. Returns its text. */
function logOnce(error: unknown, logged: string | undefined, log: Logger): string {
  const reported = isForbidden(error)
    ? new GateError('PG_RBAC', { what: 'get /version', detail: error.apiMessage }, error)
    : error;
  const text = reported instanceof Error ? reported.message : String(reported);
  if (text !== logged) {
    if (reported instanceof GateError) log.error({ code: reported.code }, text);
    else log.error({ err: reported }, 'could not read the Kubernetes version, retrying');
  }
  return text;
}

function isSupported({ major, minor }: ServerVersion): boolean {
  return major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor);
}

/** Both are strings. Managed clusters and builds from a work tree have a minor such as `37+`. */
function parseVersion(answer: unknown): ServerVersion | undefined {
  const [major, minor] = ['major', 'minor'].map((field) =>
    Number.parseInt(asString(at(answer, field)) ?? '', 10),
  );
  if (major === undefined || minor === undefined || Number.isNaN(major + minor)) return undefined;
  return { major, minor };
}
