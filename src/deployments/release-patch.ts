import type { Deployment } from '../api/deployment.ts';
import { HOLD_CHARACTERS, parseHold } from '../api/hold.ts';
import { DECIDED_ANNOTATION, HELD_LABEL, HOLD_ANNOTATION, KEEP_PAUSED_ANNOTATION } from '../api/names.ts';
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
    const wish = annotations[KEEP_PAUSED_ANNOTATION];
    // Of a hold that is too long only a part may be known.
    if (hold.length <= HOLD_CHARACTERS)
      operations.push({ op: 'test', path: annotationPath(HOLD_ANNOTATION), value: hold });
    operations.push(
      // Null is what API servers take an annotation for that is not there (evanphx/json-patch).
      { op: 'test', path: annotationPath(KEEP_PAUSED_ANNOTATION), value: wish ?? null },
      { op: 'remove', path: annotationPath(HOLD_ANNOTATION) },
    );
  }
  if (decided !== undefined)
    operations.push({ op: 'add', path: annotationPath(DECIDED_ANNOTATION), value: decided });
  if (labels[HELD_LABEL] !== undefined) {
    operations.push({ op: 'remove', path: `/metadata/labels/${escapePointer(HELD_LABEL)}` });
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

function annotationPath(name: string): string {
  return `/metadata/annotations/${escapePointer(name)}`;
}

function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
