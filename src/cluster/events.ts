import { createHash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import { createLogLimit } from '../log-limit.ts';
import { elide } from '../text.ts';
import type { ApiClient } from './api-client.ts';
import { isAlreadyExists } from './api-error.ts';
import { createEventMemory } from './event-memory.ts';
import type { EventKind } from './event-reasons.ts';
import { createFairQueue } from './fair-queue.ts';
import { microTime } from './micro-time.ts';

export interface ObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  /** Absent for cluster-scoped objects. */
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
}

export type GateEvent = EventKind & {
  /** What was done, such as `Release`: at most 128 characters. */
  readonly action: string;
  readonly regarding: ObjectRef;
  readonly related?: ObjectRef;
  /** For people. Cut at 1024 bytes. */
  readonly note: string;
  /** With the reason and the object, what makes two Events the same one, even if several replicas emit it. */
  readonly dedupKey: string;
};

export interface EventWriter {
  /** Returns at once and never throws. */
  readonly write: (event: GateEvent) => void;
  /** Resolves when nothing waits to be written any more. */
  settled(): Promise<void>;
}

interface QueuedEvent {
  readonly namespace: string;
  readonly name: string;
  readonly body: unknown;
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
/**
 * 10 MB of memory, at 2 kB for each Event. A leader that has just taken over may write an Event for every decision of the last
 * hour, and an API server accepts about 100 Events a second.
 */
const QUEUE_ROOM = 5000;
/** One for each of four namespaces, because Events are not urgent. */
const WRITES_AT_A_TIME = 4;
/** Each takes about 150 bytes, and a hold has about ten. */
const REMEMBERED_EVENTS = 20_000;
/** The limit that client-go sets for the Events of one object (EventSourceObjectSpamFilter). */
const EVENT_RATE = { burst: 25, everyMs: 300_000 };
/** An Event may repeat what a user wrote, such as the value of an annotation. */
const KEY_CHARACTERS = 256;

/**
 * Writes Events to the API server, and one log line each with `audit: true` (Events expire after an hour by default). An Event that
 * cannot be written is lost, with a warning. The same Event given again is then tried again, but not logged again.
 *
 * Each object has at most 25 Events of one reason at once, and then one in 5 minutes. Further Events are neither written nor logged.
 * The next audit line of that object and reason says how many were left out. An Event that is still true is written when it is given
 * again.
 */
export function createEventWriter(
  client: Pick<ApiClient, 'create'>,
  options: EventWriterOptions,
): EventWriter {
  const { log, clock } = options;
  const events = createEventMemory(REMEMBERED_EVENTS);
  const limitEvents = createLogLimit(clock, EVENT_RATE);
  const limitFailures = createLogLimit(clock);
  const queue = createFairQueue<QueuedEvent>({
    ...{ atATime: WRITES_AT_A_TIME, room: QUEUE_ROOM, clock },
    async handle({ namespace, name, body }) {
      try {
        await client.create(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`, body);
        events.set(namespace, name, 'written');
      } catch (error) {
        if (isAlreadyExists(error)) events.set(namespace, name, 'written');
        else fail(namespace, name, error);
      }
    },
    onDropped: ({ namespace, name }) =>
      fail(namespace, name, new Error(`${QUEUE_ROOM} events are waiting already`)),
  });

  function fail(namespace: string, name: string, err: unknown): void {
    events.set(namespace, name, 'logged');
    limitFailures(namespace, (fields) =>
      log.warn({ ...fields, err, namespace, event: name }, 'events cannot be written'),
    );
  }

  function write(event: GateEvent): void {
    const name = eventName(event);
    const namespace = namespaceOf(event.regarding);
    const seen = events.get(namespace, name);
    if (seen === 'queued' || seen === 'written') return;
    if (seen === 'logged') add(name, namespace, event);
    else
      limitEvents(`${identityOf(event.regarding)} ${event.reason}`, (fields) => {
        log.info({ ...auditFields(event), ...fields }, event.note);
        add(name, namespace, event);
      });
  }

  function add(name: string, namespace: string, event: GateEvent): void {
    events.set(namespace, name, 'queued');
    queue.add({
      namespace,
      name,
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
  }

  return { write, settled: queue.settled };
}

function auditFields({
  type,
  reason,
  action,
  regarding,
  related,
  dedupKey,
}: GateEvent): Record<string, unknown> {
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
    dedupKey: elide(dedupKey, KEY_CHARACTERS),
  };
}

function eventName({ reason, regarding, dedupKey }: GateEvent): string {
  const { name } = regarding;
  const identity = JSON.stringify([reason, identityOf(regarding), dedupKey]);
  const hash = createHash('sha256').update(identity).digest('hex').slice(0, 16);
  return `${name.slice(0, NAME_CHARACTERS).replace(/(?<![.-])[.-]+$/, '')}.${hash}`;
}

function identityOf({ kind, namespace, name, uid }: ObjectRef): unknown {
  return uid ?? [kind, namespace, name];
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
