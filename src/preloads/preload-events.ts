import { describePreload, goBack } from '../api/commands.ts';
import type { Deployment } from '../api/deployment.ts';
import { parseHold } from '../api/hold.ts';
import type { ImagePreload } from '../api/image-preload.ts';
import { HOLD_ANNOTATION } from '../api/names.ts';
import { awaitedPreload } from '../api/preload-name.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { EventKind } from '../cluster/event-reasons.ts';
import type { GateEvent, ObjectRef } from '../cluster/events.ts';
import { preloadReference } from '../cluster/object-reference.ts';
import type { Assessment, Progress } from './assess/assess.ts';
import { describeDivergence } from './assess/image-divergence.ts';
import { describeExcluded } from './nodes/eligible-nodes.ts';
import { remedyFor } from './pods/failure-reasons.ts';
import { describeFailure, type Failure, saysWhy } from './pods/pull-failure.ts';
import { unservedMessage } from './preload-status.ts';

/** Each failing node has an Event. On a large cluster the first ones say it all. */
const NODE_EVENTS = 10;

/** Of the 1 kB of a note: beyond it, words say how to go back. */
const GO_BACK_ROOM = 400;
/** Names of up to a kilobyte are taken for images: the words about them come after. */
const IMAGE_ROOM = 200;

/**
 * The Events that this state of a preload is worth, each with what to paste next. Said again each time: the writer knows a
 * Event it has written. `owner` is the Deployment as it is stored, if one owns the preload.
 */
export function preloadEvents(
  preload: ImagePreload,
  assessment: Assessment,
  owner: Deployment | undefined,
): GateEvent[] {
  const { outcome, progress } = assessment;
  const { desired, ready } = progress;
  const images = preload.spec.images.map(({ image }) => image).join(', ');
  const itself = preloadReference(preload, preload.name, preload.uid);
  const about = preload.owner === undefined ? itself : ownerReference(preload, preload.owner);
  const eventOf = (event: EventKind & Pick<GateEvent, 'note' | 'dedupKey'>): GateEvent => ({
    ...event,
    action: 'Preload',
    regarding: about,
    related: itself,
  });
  const see = `see ${describePreload(preload)}`;
  const events: GateEvent[] = [];
  if (outcome.reason === 'NotPreloadable') {
    const { message } = outcome;
    return [
      eventOf({
        type: 'Warning',
        reason: 'NotPreloadable',
        note: noteEnding(message, see),
        dedupKey: preload.uid,
      }),
    ];
  }
  const waits = waitingText(preload, assessment);
  if (waits !== undefined) {
    const note = noteEnding(waits, 'see kubectl get nodes', see);
    events.push(eventOf({ reason: 'WaitingForNodes', type: 'Warning', note, dedupKey: preload.uid }));
  }
  if (desired > 0) {
    const note = `preloading ${images} on ${desired} node${desired === 1 ? '' : 's'}`;
    events.push(eventOf({ type: 'Normal', reason: 'PreloadStarted', note, dedupKey: preload.uid }));
  }
  // Kubelets before 1.31 do not repeat why they back off.
  const failing = progress.failures.filter(({ message }) => saysWhy(message)).slice(0, NODE_EVENTS);
  for (const failure of failing) {
    const { node, image, reason, message, left } = failure;
    const leaves = left === undefined ? '' : '; this node no longer counts';
    const text = `${node}: ${words(image, message)} (${left ?? reason})${leaves}; ${readyCount(progress)}; ${remedyFor(failure)}`;
    const which = `${preload.uid} ${node} ${image} ${left ?? reason}`;
    events.push(
      eventOf({ type: 'Warning', reason: 'PreloadNodeFailed', note: noteEnding(text, see), dedupKey: which }),
    );
  }
  for (const { image, digestNodes } of progress.images) {
    if (digestNodes === undefined) continue;
    const text = `${describeDivergence(image, digestNodes)}. The tag was moved, so the pods will not all run the same image`;
    const digests = digestNodes.map(({ digest }) => digest).toSorted();
    const which = `${preload.uid} ${image} ${digests.join(' ')}`;
    events.push(
      eventOf({ type: 'Warning', reason: 'ImageDiverged', note: noteEnding(text, see), dedupKey: which }),
    );
  }
  const failure = failureOf(preload, assessment);
  if (failure !== undefined) {
    const back = wayBack(preload, owner);
    const note = noteEnding(failure.text, back && `go back: ${back}`, see);
    events.push(eventOf({ type: 'Warning', reason: 'PreloadFailed', note, dedupKey: failure.dedupKey }));
  }
  if (outcome.reason === 'Ready') {
    const missing = leftOut(progress);
    const text = `${ready} of ${desired} nodes have ${images}`;
    const note = missing === '' ? text : noteEnding(`${text}; excluded: ${missing}`, see);
    events.push(eventOf({ type: 'Normal', reason: 'PreloadReady', note, dedupKey: preload.uid }));
  }
  return events;
}

/** Says what it waits for as long as no node is eligible. */
function waitingText({ owner }: ImagePreload, { outcome, progress }: Assessment): string | undefined {
  if (outcome.kind !== 'wait' || outcome.reason !== 'NoEligibleNodes') return undefined;
  const left = describeExcluded(progress.excluded);
  const what = owner === undefined ? 'the preload waits for one' : 'the rollout waits for one';
  const end = new Date(outcome.until).toISOString().replace(/\.\d+/, '');
  return `no node is eligible${left && `; excluded: ${left}`}; ${what}, until ${end} at the latest`;
}

/** The Event for one in a namespace without a mode. */
export function unservedEvent(
  preload: Pick<ImagePreload, 'namespace' | 'name' | 'uid' | 'generation'>,
): GateEvent {
  return {
    type: 'Warning',
    reason: 'NotServed',
    action: 'Preload',
    regarding: preloadReference(preload, preload.name, preload.uid),
    note: noteEnding(
      unservedMessage(preload),
      `to preload it, set a mode: kubectl label namespace ${preload.namespace} pullgate.io/mode=audit`,
    ),
    dedupKey: `${preload.uid} ${preload.generation}`,
  };
}

/** The Event for one that asks for more than the gate carries. */
export function refusedPreloadEvent(preload: ImagePreload, why: string): GateEvent {
  return {
    type: 'Warning',
    reason: 'LimitExceeded',
    action: 'Preload',
    regarding: preloadReference(preload, preload.name, preload.uid),
    note: `nothing is preloaded: ${why}; create a smaller ImagePreload, or several`,
    dedupKey: `${preload.uid} ${preload.generation}`,
  };
}

/** Why the rollout that waits for it does not begin before something has changed. */
function failureOf(
  preload: ImagePreload,
  { outcome, progress }: Assessment,
): { readonly text: string; readonly dedupKey: string } | undefined {
  if (outcome.kind !== 'fail') return undefined;
  const goesOn = preload.owner === undefined ? '' : '; the running version is unchanged';
  const count = readyCount(progress);
  if (outcome.reason !== 'DeadlineExceeded') {
    const { image, reason, node, message } = outcome.failure;
    return {
      text: `${words(image, message)} (${reason} on ${node}); ${count}${goesOn}; ${finalRemedy(outcome.failure)}`,
      // Without the words: they may name another node or request each time.
      dedupKey: `${preload.uid} ${image} ${reason}`,
    };
  }
  const { failure } = outcome;
  const why =
    failure === undefined
      ? `${progress.late} is still pulling ${preload.spec.images.map(({ image }) => image).join(', ')}`
      : `${failure.node}: ${words(failure.image, failure.message)} (${failure.reason})`;
  const text = `the deadline of ${preload.spec.deadlineSeconds} s has passed and ${count}; ${why}`;
  const help = failure === undefined ? '' : `; ${remedyFor(failure)}`;
  return {
    text: `${text}${goesOn}; the pull is retried automatically${help}`,
    dedupKey: `${preload.uid} DeadlineExceeded`,
  };
}

/** An invalid name stays invalid, whatever is done elsewhere. */
function finalRemedy(failure: Failure): string {
  const remedy = remedyFor(failure);
  return failure.reason === 'InvalidName' ? remedy : `the pull is retried automatically: ${remedy}`;
}

function readyCount({ ready, desired }: Progress): string {
  return `${ready} of ${desired} nodes are ready`;
}

/** Nodes that would count if all was well with them. */
function leftOut({ excluded }: Progress): string {
  return describeExcluded(excluded.filter(({ reason }) => NOT_WELL.has(reason)));
}

const NOT_WELL: ReadonlySet<string> = new Set([
  'Cordoned',
  'Deleting',
  'LimitExceeded',
  'NodeRefusesPod',
  'NotReady',
  'PullFailed',
  'PullTimedOut',
]);

/** The command, or words, that end the hold which waits for this preload; undefined if none does. */
function wayBack(preload: ImagePreload, owner: Deployment | undefined): string | undefined {
  const hold = parseHold(owner?.annotations[HOLD_ANNOTATION]);
  if (owner === undefined || hold?.uid !== owner.uid) return undefined;
  if (awaitedPreload(owner, hold) !== preload.name) return undefined;
  return goBack(owner, hold, owner.template, GO_BACK_ROOM);
}

function words(image: string, message: string): string {
  return image.length <= IMAGE_ROOM
    ? describeFailure(image, message)
    : `${image.slice(0, IMAGE_ROOM - 3)}...: ${message}`;
}

function ownerReference({ namespace }: ImagePreload, owner: NonNullable<ImagePreload['owner']>): ObjectRef {
  return { apiVersion: 'apps/v1', namespace, ...owner };
}
