import { ownDecisionRecord, writeDecisionRecord } from '../api/decision-record.ts';
import type { Deployment } from '../api/deployment.ts';
import { HOLD_CHARACTERS, ownHold, parseHold } from '../api/hold.ts';
import {
  APPROVAL_LABEL,
  APPROVED_ANNOTATION,
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  NOT_BEFORE_ANNOTATION,
} from '../api/names.ts';
import type { JsonObject } from '../json.ts';

export interface JsonPatchOperation {
  readonly op: 'test' | 'add' | 'remove' | 'replace';
  readonly path: string;
  readonly value?: unknown;
}

/**
 * Takes a hold off, and the pause with it, in one step: taken off in two, a crash in between would leave the
 * Deployment paused for ever. The tests make the API server refuse (422) if the spec, the hold or the wish to stay paused
 * changed since it was read, or if the Deployment is another one. `template`, if given, replaces the held one, and `decided` the record
 * of the decision.
 */
export function releasePatch(
  deployment: Deployment,
  paused: boolean,
  {
    template,
    decided,
  }: { readonly template?: JsonObject | undefined; readonly decided?: string | undefined } = {},
): JsonPatchOperation[] {
  const { annotations, generation, labels, uid } = deployment;
  const hold = annotations[HOLD_ANNOTATION];
  const operations: JsonPatchOperation[] = [
    { op: 'test', path: '/metadata/uid', value: uid },
    { op: 'test', path: '/metadata/generation', value: generation },
  ];
  if (hold !== undefined) {
    const tested = [KEEP_PAUSED_ANNOTATION, NOT_BEFORE_ANNOTATION];
    // Of a hold that is too long only a part may be known.
    if (hold.length <= HOLD_CHARACTERS)
      operations.push({ op: 'test', path: annotationPath(HOLD_ANNOTATION), value: hold });
    // Changes of these do not change the generation. Null is what API servers take an annotation for that is not there
    // (evanphx/json-patch).
    for (const name of tested)
      operations.push({ op: 'test', path: annotationPath(name), value: annotations[name] ?? null });
    if (labels[HELD_LABEL] !== undefined)
      operations.push({ op: 'test', path: labelPath(APPROVAL_LABEL), value: labels[APPROVAL_LABEL] ?? null });
    operations.push({ op: 'remove', path: annotationPath(HOLD_ANNOTATION) });
  }
  // The approval is over with its hold. An annotation that stays could not be set again for the same template.
  if (annotations[APPROVED_ANNOTATION] !== undefined)
    operations.push({ op: 'remove', path: annotationPath(APPROVED_ANNOTATION) });
  if (decided !== undefined)
    operations.push({ op: 'add', path: annotationPath(DECIDED_ANNOTATION), value: decided });
  if (labels[HELD_LABEL] !== undefined) {
    operations.push({ op: 'remove', path: labelPath(HELD_LABEL) });
  }
  if (deployment.paused !== paused) operations.push({ op: 'replace', path: '/spec/paused', value: paused });
  if (template !== undefined) operations.push({ op: 'replace', path: '/spec/template', value: template });
  return operations;
}

/**
 * What `spec.paused` is to be without the hold. One that cannot be read, or that has left only its label, says
 * nothing, so nothing stays paused.
 */
export function pausedAfterHold(deployment: Deployment): boolean {
  if (!deployment.paused) return false;
  if (deployment.annotations[KEEP_PAUSED_ANNOTATION] === 'true') return true;
  return parseHold(deployment.annotations[HOLD_ANNOTATION])?.userPaused ?? false;
}

/**
 * Returns the record of the decision, with how the leader ends the hold that it began; undefined if there is no such record. A leader
 * that crashes between the patch and its answer has reported nothing, and the next one knows of the end only by this record.
 */
export function endRecord(deployment: Deployment, reason: string, now: number): string | undefined {
  const decided = ownDecisionRecord(deployment);
  const hold = ownHold(deployment);
  if (decided?.uid === undefined || hold === undefined) return undefined;
  if (decided.at !== hold.since || decided.template !== hold.template) return undefined;
  return writeDecisionRecord({ ...decided, ended: { reason, at: new Date(now).toISOString() } });
}

/**
 * Returns the strategic merge patch for `deployments/status` that makes a waiting `kubectl rollout status` exit 1 at once,
 * or wait again if there is no failure. The Deployment controller leaves a timed-out condition alone while the Deployment is paused. Refused (409) if
 * the Deployment has changed since it was read: a rollout that was let go meanwhile has not failed.
 */
export function progressCondition(
  { resourceVersion }: Deployment,
  failure: string | undefined,
  now: number,
): unknown {
  const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
  const condition =
    failure === undefined
      ? { status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' }
      : { status: 'False', reason: 'ProgressDeadlineExceeded', message: failure };
  const entry = { type: 'Progressing', ...condition, lastUpdateTime: time, lastTransitionTime: time };
  return { metadata: { resourceVersion }, status: { conditions: [entry] } };
}

function annotationPath(name: string): string {
  return `/metadata/annotations/${escapePointer(name)}`;
}

function labelPath(name: string): string {
  return `/metadata/labels/${escapePointer(name)}`;
}

function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
