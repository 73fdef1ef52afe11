import type { ApiClient } from '../cluster/api-client.ts';
import { GateError } from '../errors.ts';
import { asString, at } from '../json.ts';

export interface ServerVersion {
  readonly major: number;
  readonly minor: number;
}

/** @throws what ApiClient throws; GateError PG_API_ANSWER for an answer without a version */
export async function serverVersion(client: Pick<ApiClient, 'cluster' | 'get'>): Promise<ServerVersion> {
  const answer = await client.get('/version');
  const major = leadingNumber(at(answer, 'major'));
  const minor = leadingNumber(at(answer, 'minor'));
  if (major === undefined || minor === undefined) {
    throw new GateError('PG_API_ANSWER', {
      server: client.cluster,
      call: 'GET /version',
      detail: 'no version',
    });
  }
  return { major, minor };
}

export function isAtLeast(version: ServerVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** Both are strings; managed clusters and builds from a work tree have a minor such as `27+`. */
function leadingNumber(value: unknown): number | undefined {
  const digits = /^\d+/.exec(asString(value) ?? '')?.[0];
  return digits === undefined ? undefined : Number(digits);
}
