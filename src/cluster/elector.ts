import { type Clock, wait } from '../clock.ts';
import { GateError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { ApiClient, CallOptions } from './api-client.ts';
import { isAlreadyExists, isConflict, isForbidden, isNotFound } from './api-error.ts';
import { whileLeading } from './leader-client.ts';
import { claim, nextMove, parseLease, RENEW_DEADLINE_MS, RETRY_MS, seen, type View } from './lease.ts';

export interface ElectorOptions {
  /** One of its own: behind a crowd of other calls a renewal would wait for a connection. */
  readonly client: Pick<ApiClient, 'get' | 'create' | 'mergePatch'>;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** For people: the pod's name. */
  readonly identity: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

/**
 * What the leader does, with a client that `guard` has made (see `whileLeading`). It ends when the signal is aborted: at once if
 * the Lease was lost, or after `stop` when the work in progress is done. No other replica starts earlier. If it ends without the
 * signal, or rejects, the Lease is given back, and every replica may try again, including this one.
 */
export type Lead = (signal: AbortSignal, guard: (client: ApiClient) => ApiClient) => Promise<void>;

export interface Elector {
  /** Stands for election, leads, and stands again, until `stop`. To be called once. */
  run(lead: Lead): Promise<void>;
  /** Ends a term in order and gives the lease back, so that the next one need not wait for its end. */
  stop(): Promise<void>;
  /** Whether this replica leads, so that no other replica can. */
  isLeader(): boolean;
  /** Whether it has stopped making attempts: to take the Lease, to renew it, or to end after a loss. */
  isStuck(): boolean;
}

/** If a call hangs, for example on a dead connection, there is time for another one within the renew deadline. */
const CALL_MS = 5000;
const RELEASE_ATTEMPTS = 2;
/**
 * The longest between two steps that may pass: after a loss, until everything that was under way has ended, which is broken off
 * after 10 s (TERM_END_MS of src/in-cluster-gate.ts). Several times that, because a restart loses the caches.
 */
const STUCK_MS = 60_000;

/** Elects one leader by a coordination.k8s.io/v1 Lease. What is decided when: see `lease.ts`. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: a loop with its state: the decisions are in lease.ts
export function createElector(options: ElectorOptions): Elector {
  const { client, namespace, name, clock, random } = options;
  // Of this process alone: a container that is restarted has its pod's name again, but has never held this lease.
  const self = `${options.identity}_${Math.floor(random() * 2 ** 32).toString(36)}`;
  const log = options.log.child({ lease: `${namespace}/${name}`, identity: self });
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const path = `${leases}/${name}`;
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  let view: View | undefined;
  /** `view` is what our own last write answered. */
  let isOwnWrite = false;
  let leading = false;
  /** Of `clock.monotonic`. */
  let oursUntil = Number.NEGATIVE_INFINITY;
  let logged: string | undefined;
  /** Of `clock.monotonic`. */
  let stepAt = Number.POSITIVE_INFINITY;

  const remainingMs = () => oursUntil - clock.monotonic();
  const isLeader = () => leading && remainingMs() > 0;

  function step(): void {
    stepAt = clock.monotonic();
  }

  /** No call outlasts our own term: after it the next look decides. */
  function bounds(): CallOptions {
    const rest = leading ? remainingMs() : CALL_MS;
    return { retry: false, deadlineMs: Math.max(1, Math.min(CALL_MS, rest)) };
  }

  async function read(): Promise<View> {
    isOwnWrite = false;
    const lease = await client.get(path, {}, bounds()).then(parseLease, (error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    view = seen(view, lease, clock.monotonic(), self);
    return view;
  }

  /** As long as the Lease is what `lease` was: else it is a conflict. */
  async function write({ lease }: View): Promise<void> {
    // Other replicas see this write later than this moment.
    const sentAt = clock.monotonic();
    isOwnWrite = false;
    const spec = claim(lease, self, clock.now());
    const raw = await (lease === undefined ? create(spec) : patch(lease.resourceVersion, spec));
    view = seen(view, parseLease(raw), clock.monotonic(), self);
    isOwnWrite = true;
    oursUntil = sentAt + RENEW_DEADLINE_MS;
  }

  function create(spec: object): Promise<unknown> {
    const metadata = { namespace, name };
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
    return client.create(leases, body, {}, bounds());
  }

  /** A patch that names a resourceVersion is refused (409) once the object has another. */
  function patch(resourceVersion: string, spec: object): Promise<unknown> {
    return client.mergePatch(path, { metadata: { resourceVersion }, spec }, {}, bounds());
  }

  /** Returns in how many ms to try again, or undefined if this replica now holds the Lease. */
  async function stand(): Promise<number | undefined> {
    const current = await read();
    const move = nextMove(current, clock.monotonic());
    if (move.do === 'wait') return move.ms;
    await write(current);
    return undefined;
  }

  /** Returns whether this replica still holds the Lease. If the answer to a write was lost, the next write conflicts with it. */
  async function renew(): Promise<boolean> {
    if (isOwnWrite && view !== undefined) {
      try {
        await write(view);
        return true;
      } catch (error) {
        if (!isOutdated(error)) throw error;
      }
    }
    const current = await read();
    if (current.lease !== undefined && current.lease.holder !== self) return false;
    // A Lease that has expired is acquired again only after all work under it has ended.
    if (!isLeader()) throw new Error('its time was over before it could be renewed');
    await write(current);
    return true;
  }

  async function giveBack(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const current = isOwnWrite && view !== undefined ? view : await read();
        if (current.lease?.holder !== self) return;
        isOwnWrite = false;
        await patch(current.lease.resourceVersion, { holderIdentity: '' });
        log.info('gave the Lease back');
        return;
      } catch (err) {
        if (isOutdated(err) && attempt < RELEASE_ATTEMPTS) continue;
        log.warn({ err }, 'could not give the Lease back; the next leader waits until it expires');
        return;
      }
    }
  }

  /** From the moment the lease is ours until it is lost or given back. */
  async function serveTerm(lead: Lead): Promise<void> {
    const lost = new AbortController();
    const done = new AbortController();
    const signal = AbortSignal.any([stopping.signal, lost.signal]);
    const over = AbortSignal.any([lost.signal, done.signal]);
    let cancelDeadline = () => {};

    function lose(why: string): void {
      cancelDeadline();
      leading = false;
      step();
      lost.abort(new Error(`the lease was lost: ${why}`));
      log.warn({ why }, 'no longer the leader');
    }
    function setDeadline(): void {
      cancelDeadline();
      cancelDeadline = clock.setTimer(Math.max(0, remainingMs()), () =>
        lose('it could not be renewed in time'),
      );
    }
    async function doLead(): Promise<void> {
      try {
        await lead(signal, (client) => whileLeading(client, { isLeader, remainingMs, lost: lost.signal }));
        if (!signal.aborted) log.error('the controllers of the leader ended unexpectedly');
      } catch (err) {
        // What a lost lease breaks off is expected to complain.
        if (!lost.signal.aborted) log.error({ err }, 'the leader failed');
      }
      done.abort();
    }

    leading = true;
    setDeadline();
    log.info('leading');
    const ledToEnd = doLead();
    // After `stop`, the Lease is still renewed until all work is done.
    for (let restMs = RETRY_MS; !over.aborted; ) {
      await wait(clock, restMs, over).catch(() => undefined);
      if (over.aborted) break;
      step();
      const began = clock.monotonic();
      try {
        const isOurs = await renew();
        if (!isOurs && !lost.signal.aborted) lose('another has it');
        else if (!lost.signal.aborted) setDeadline();
        logged = undefined;
      } catch (error) {
        report('the lease could not be renewed', error);
      }
      restMs = Math.max(0, began + RETRY_MS - clock.monotonic());
    }
    await ledToEnd;
    cancelDeadline();
    if (lost.signal.aborted) return;
    leading = false;
    await giveBack();
  }

  /** Once for each outage, and each kind of it. */
  function report(what: string, error: unknown): void {
    const known = isForbidden(error)
      ? new GateError('PG_RBAC', { what: `use the Lease ${path}`, detail: error.apiMessage }, error)
      : error;
    const text = known instanceof Error ? known.message : String(known);
    if (text === logged) return;
    logged = text;
    if (known instanceof GateError) log.warn({ code: known.code }, `${what}: ${text}`);
    else log.warn({ err: known }, what);
  }

  async function run(lead: Lead): Promise<void> {
    while (!stopping.signal.aborted) {
      // Downwards only: with it nobody waits longer than promised.
      let restMs = RETRY_MS * (1 - random() / 4);
      step();
      try {
        const freeIn = await stand();
        logged = undefined;
        if (freeIn === undefined) await serveTerm(lead);
        else restMs = Math.min(restMs, freeIn);
      } catch (error) {
        // Another was quicker.
        if (!isConflict(error) && !isAlreadyExists(error)) report('standing for election failed', error);
      }
      await wait(clock, restMs, stopping.signal).catch(() => undefined);
    }
  }

  return {
    run(lead) {
      running ??= run(lead);
      return running;
    },
    async stop() {
      stopping.abort(new Error('stopping'));
      await running;
    },
    isLeader,
    isStuck: () => clock.monotonic() - stepAt > STUCK_MS,
  };
}

/** The Lease is not any more what it was when it was read. */
function isOutdated(error: unknown): boolean {
  return isConflict(error) || isAlreadyExists(error) || isNotFound(error);
}
