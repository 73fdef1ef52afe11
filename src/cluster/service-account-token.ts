import type { Clock } from '../clock.ts';
import { GateError } from '../errors.ts';
import { asNumber, asString, at } from '../json.ts';
import type { ApiClient } from './api-client.ts';
import type { Cluster } from './credentials.ts';

const LIFE_SECONDS = 3600;
// As the kubelet does with projected tokens.
const RENEW_AT = 0.8;

interface Token {
  readonly value: string;
  /** On the monotonic clock: the server's may be off by minutes, and only the duration is needed. */
  readonly renewAt: number;
  readonly expiresAt: number;
}

/**
 * The same API server as `cluster`, as one of its ServiceAccounts: outside a cluster the gate acts with the rights
 * that it has inside. `admin` may create `serviceaccounts/token`. None of the credentials of `cluster` is kept: the
 * API server believes a client certificate before it looks at a token.
 */
export function actAs(
  admin: ApiClient,
  cluster: Cluster,
  namespace: string,
  serviceAccount: string,
  clock: Clock,
): Cluster {
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`;
  let current: Token | undefined;
  let renewal: Promise<Token> | undefined;

  async function request(): Promise<Token> {
    const asked = clock.monotonic();
    const answer = await admin.create(path, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: LIFE_SECONDS },
    });
    const value = asString(at(answer, 'status', 'token'));
    if (value === undefined) {
      throw new GateError('PG_API_ANSWER', {
        server: cluster.server,
        call: `POST ${path}`,
        detail: 'no status.token',
      });
    }
    // The server may grant another life than was asked for.
    const life = (asNumber(at(answer, 'spec', 'expirationSeconds')) ?? LIFE_SECONDS) * 1000;
    current = { value, renewAt: asked + life * RENEW_AT, expiresAt: asked + life };
    return current;
  }

  function renew(): Promise<Token> {
    renewal ??= request().finally(() => {
      renewal = undefined;
    });
    return renewal;
  }

  return {
    name: cluster.name,
    server: cluster.server,
    ca: cluster.ca,
    skipTlsVerify: cluster.skipTlsVerify,
    serverName: cluster.serverName,
    async token() {
      const now = clock.monotonic();
      if (current === undefined || now >= current.expiresAt) return (await renew()).value;
      // The old one still works, so nobody waits; a renewal that fails is tried again by the next call.
      if (now >= current.renewAt) renew().catch(() => undefined);
      return current.value;
    },
    invalidateToken(refused) {
      // Of several calls that were refused with one token, only the first has it replaced.
      if (current?.value === refused) current = undefined;
    },
  };
}
