import { MODE_LABEL, MODE_OFF } from '../../../src/api/names.ts';
import { asArray, asString, at, type JsonObject } from '../../../src/json.ts';
import { type History, overlaps, type Span, type UserUpdate } from './history.ts';
import type { Stored } from './stored.ts';

/** The audit log and this process read the same clock, but one writes milliseconds and the other counts from its start. */
const CLOCK_MS = 50;
/** How long a rollout that nobody held goes on before the leader has to have told of it: a watch, a queue, a call, all under load. */
const TOLD_WITHIN_MS = 5000;

/** Whether the API server has let this update pass without the gate's answer. */
export function hasFailedOpen({ failedOpen }: History, { of, began, ended }: UserUpdate): boolean {
  const span = { from: began - CLOCK_MS, to: ended + CLOCK_MS };
  return failedOpen.some((one) => one.of === of && overlaps(span, { from: one.at, to: one.at }));
}

type Version = Stored & { readonly at: number; readonly object: JsonObject };

/**
 * What should have been told of an update that failed open and was not: a rollout that begins without the gate is told by the
 * leader, if it lasts long enough for the leader to see it. Undefined: nothing is missing.
 */
export function whatIsUntold(
  history: History,
  versions: readonly Version[],
  passed: Version,
): string | undefined {
  const until = passed.at + TOLD_WITHIN_MS;
  // Its decision may still be stored, and then the leader cannot tell.
  if (versions.some(({ at: when, template }) => when < passed.at && template === passed.template))
    return undefined;
  const span = { from: passed.at, to: until };
  const during = versions.filter(({ at: when }) => when >= passed.at && when <= until);
  const goesOn = during.every((version) => version.template === passed.template && isRollout(version));
  const last = during.at(-1);
  if (!goesOn || last === undefined || !isUnderWay(last) || lastMoment(history) < until) return undefined;
  if (!isGated(history, span) || history.down.some((one) => overlaps(one, span))) return undefined;
  const isTold = history.moments.some(
    ({ kind, object }) => kind === 'UngatedEvent' && at(object, 'involvedObject', 'uid') === passed.uid,
  );
  return isTold ? undefined : 'it failed open, its rollout began, and no UngatedRollout tells of it';
}

function isRollout({ paused, replicas, labels }: Version): boolean {
  return !paused && replicas > 0 && labels[MODE_LABEL] !== MODE_OFF;
}

/** As the Deployment controller has it. */
function isUnderWay({ object, generation, replicas }: Version): boolean {
  const count = (field: string) => Number(at(object, 'status', field) ?? 0);
  const progressing = asArray(at(object, 'status', 'conditions')).find(
    (condition) => at(condition, 'type') === 'Progressing',
  );
  const reason = asString(at(progressing, 'reason'));
  const updated = count('updatedReplicas');
  const isOver = updated >= replicas && count('replicas') <= updated && count('availableReplicas') >= updated;
  return (
    count('observedGeneration') >= generation &&
    !isOver &&
    reason !== undefined &&
    reason !== 'NewReplicaSetAvailable' &&
    reason !== 'ProgressDeadlineExceeded'
  );
}

function isGated({ modes }: History, span: Span): boolean {
  return modes
    .filter((one) => overlaps(one, span))
    .every(({ mode }) => mode === 'pause' || mode === 'reject');
}

function lastMoment({ moments }: History): number {
  return moments.at(-1)?.at ?? 0;
}
