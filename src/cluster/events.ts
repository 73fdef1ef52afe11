import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { ApiClient } from './api-client.ts';
import { isAlreadyExists } from './api-error.ts';
import { microTime } from './micro-time.ts';

export type EventReason =
  | 'RolloutHeld'
  | 'RolloutRejected'
  | 'RolloutAudited'
  | 'PreloadStarted'
  | 'PreloadNodeFailed'
  | 'PreloadFailed'
  | 'PreloadReady'
  | 'ImageDiverged'
  | 'RolloutReleased'
  | 'HoldSuperseded'
  | 'HoldReverted'
  | 'HoldBypassed'
  | 'GateOptedOut'
  | 'HoldDeadlineExceeded'
  | 'NoEligibleNodes'
  | 'UngatedRollout'
  | 'LimitExceeded'
  | 'InvalidMode'
  | 'InvalidSetting';

export interface ObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  /** Absent for cluster-scoped objects. */
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface GateEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: EventReason;
  /** What was done, such as `Release`: at most 128 characters. */
  readonly action: string;
  readonly regarding: ObjectRef;
  readonly related?: ObjectRef;
  /** For people. Cut at 1024 bytes. */
  readonly note: string;
  /** What makes it one fact: the same reason, object and fact is the same event, whoever writes it and how often. */
  readonly fact: string;
}

export interface EventWriter {
  /** Returns at once and never throws. */
  readonly write: (event: GateEvent) => void;
  /** Resolves when nothing waits to be written any more. */
  settled(): Promise<void>;
}

export interface EventWriterOptions {
  /** Which program: `pullgate.io/gate`. */
  readonly reportingController: string;
  /** Which replica: the pod's name. */
  readonly reportingInstance: string;
  readonly clock: Clock;
  readonly log: Logger;
}

// The API server's own limit (validation of events.k8s.io/v1, NoteLengthLimit), in bytes.
export const NOTE_BYTES = 1024;
// With a dot and the hash well below the 253 of an object's name.
const NAME_CHARACTERS = 200;
// Facts remembered, so that a level-triggered caller may repeat itself at no cost.
const REMEMBERED_FACTS = 10_000;
// Not yet written. A rollout on a large cluster has some hundreds of facts; beyond that the API server is in trouble.
const QUEUE_LENGTH = 1000;

/**
 * Writes facts as Events and as one log line each with `audit: true` (Events expire after an hour by default). An Event that
 * cannot be written is lost, with one warning per outage. The same fact given again is then tried again, but not logged
 * again.
 */
export function createEventWriter(client: ApiClient, options: EventWriterOptions): EventWriter {
  const { log, clock } = options;
  const facts = new LRUCache<string, 'logged' | 'queued' | 'written'>({ max: REMEMBERED_FACTS });
  const queue: { readonly name: string; readonly path: string; readonly body: unknown }[] = [];
  let writing = false;
  let written = Promise.resolve();
  let warned = false;

  function fail(name: string, err: unknown): void {
    facts.set(name, 'logged');
    if (!warned) log.warn({ err, event: name }, 'events cannot be written');
    warned = true;
  }

  async function writeQueue(): Promise<void> {
    writing = true;
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      try {
        await client.create(next.path, next.body);
        facts.set(next.name, 'written');
        warned = false;
      } catch (error) {
        if (isAlreadyExists(error)) facts.set(next.name, 'written');
        else fail(next.name, error);
      }
    }
    writing = false;
  }

  function write(event: GateEvent): void {
    const name = eventName(event);
    const seen = facts.get(name);
    if (seen === 'queued' || seen === 'written') return;
    if (seen === undefined) log.info(auditFields(event), event.note);
    if (queue.length >= QUEUE_LENGTH) {
      fail(name, new Error(`${QUEUE_LENGTH} events are waiting already`));
      return;
    }
    facts.set(name, 'queued');
    const namespace = namespaceOf(event.regarding);
    queue.push({
      name,
      path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events`,
      body: {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { name, namespace },
        eventTime: microTime(clock.now()),
        reportingController: options.reportingController,
        reportingInstance: options.reportingInstance.slice(0, 128),
        type: event.type,
        reason: event.reason,
        action: event.action,
        // The API server refuses an Event whose own namespace and that of `regarding` differ.
        regarding: { ...event.regarding, namespace },
        related: event.related,
        note: cutToBytes(event.note, NOTE_BYTES),
      },
    });
    if (!writing) written = writeQueue();
  }

  return { write, settled: () => written };
}

function auditFields({ type, reason, action, regarding, related, fact }: GateEvent): Record<string, unknown> {
  const object =
    regarding.namespace === undefined ? regarding.name : `${regarding.namespace}/${regarding.name}`;
  return {
    audit: true,
    event: reason,
    type,
    action,
    [regarding.kind.toLowerCase()]: object,
    uid: regarding.uid,
    related: related && `${related.kind}/${related.name}`,
    fact,
  };
}

function eventName({ reason, regarding, fact }: GateEvent): string {
  const { kind, namespace, name, uid } = regarding;
  const identity = JSON.stringify([reason, uid ?? [kind, namespace, name], fact]);
  const hash = createHash('sha256').update(identity).digest('hex').slice(0, 16);
  return `${name.slice(0, NAME_CHARACTERS).replace(/(?<![.-])[.-]+$/, '')}.${hash}`;
}

/** Events are namespaced: those of a Namespace are best found inside it, other cluster-scoped objects' go to `default`. */
function namespaceOf({ kind, name, namespace }: ObjectRef): string {
  return namespace ?? (kind === 'Namespace' ? name : 'default');
}

/** At most that many bytes of UTF-8, ending with an ellipsis if something was cut. */
export function cutToBytes(text: string, limit: number): string {
  if (Buffer.byteLength(text) <= limit) return text;
  const ellipsis = '…';
  const bytes = Buffer.from(text);
  let end = limit - Buffer.byteLength(ellipsis);
  // Continuation bytes are 10xxxxxx: never cut before one.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end) + ellipsis;
}
