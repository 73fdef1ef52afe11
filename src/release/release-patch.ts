import type { Deployment } from '../hold/deployment.ts';
import { parseHold } from '../hold/hold.ts';
import { HELD_LABEL, HOLD_ANNOTATION, KEEP_PAUSED_ANNOTATION } from '../names.ts';

export interface JsonPatchOperation {
  readonly op: 'test' | 'add' | 'remove' | 'replace';
  readonly path: string;
  readonly value?: unknown;
}

/**
 * Takes a hold off, and the pause with it, in one step: taken off in two, a crash in between would leave the
 * Deployment paused for ever. The tests make the API server refuse (422) if anything of it but the status and labels changed
 * since it was read: all annotations, as a wish to stay paused is one of them.
 */
export function releasePatch(deployment: Deployment, paused: boolean): JsonPatchOperation[] {
  const { annotations, generation, labels } = deployment;
  const operations: JsonPatchOperation[] = [{ op: 'test', path: '/metadata/generation', value: generation }];
  if (annotations[HOLD_ANNOTATION] !== undefined) {
    operations.push(
      { op: 'test', path: '/metadata/annotations', value: annotations },
      { op: 'remove', path: `/metadata/annotations/${escapePointer(HOLD_ANNOTATION)}` },
    );
  }
  if (labels[HELD_LABEL] !== undefined) {
    operations.push({ op: 'remove', path: `/metadata/labels/${escapePointer(HELD_LABEL)}` });
  }
  if (deployment.paused !== paused) operations.push({ op: 'replace', path: '/spec/paused', value: paused });
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

function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
