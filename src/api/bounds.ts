import { asString, asStringMap, at, type JsonObject } from '../json.ts';
import type { Deployment } from './deployment.ts';
import { HOLD_CHARACTERS, type RunningTemplate, withMarks } from './hold.ts';
import type { PullRules } from './images-to-pull.ts';
import { DECIDED_ANNOTATION, HOLD_ANNOTATION } from './names.ts';
import { preloadNeeds } from './preload-needs.ts';
import { refusedTemplate, trimTemplate } from './template/trimmed-template.ts';

/** The most bytes of names and values of all annotations of an object (apimachinery, TotalAnnotationSizeLimitB). */
const ANNOTATIONS_BYTES = 256 * 1024;
/**
 * Room for what others write while a Deployment is held: a bypass, the revision, the annotations that the Deployment controller adds
 * to a ReplicaSet, and the next record of a decision (at most 5.5 KiB).
 */
const ANNOTATIONS_ROOM = 8 * 1024;
/** etcd takes requests of 1.5 MiB (--max-request-bytes). In its encoding an object is smaller than in JSON. */
const OBJECT_BYTES = 1.5 * 1024 * 1024 - ANNOTATIONS_ROOM;

/**
 * Returns why the gate cannot preload for this Deployment, such as `tolerations has 200 entries, more than 100`. Admission, which has
 * the whole object, and the leader, which has the cached part, get the same answer.
 */
export function exceededBound(
  deployment: Deployment,
  from: RunningTemplate,
  rules: PullRules = {},
): string | undefined {
  return (
    deployment.refused ??
    refusedTemplate(trimTemplate(deployment.template)) ??
    preloadNeeds(deployment, from, rules).refused
  );
}

/** Returns why this Deployment is too large with its hold; undefined if it is not. */
export function exceededMarks(held: JsonObject): string | undefined {
  const length = asString(at(held, 'metadata', 'annotations', HOLD_ANNOTATION))?.length ?? 0;
  if (length > HOLD_CHARACTERS)
    return `its hold would name all running images in ${length} characters, more than ${HOLD_CHARACTERS}`;
  const annotations = annotationBytes(held);
  if (annotations > ANNOTATIONS_BYTES - ANNOTATIONS_ROOM)
    return `with a hold its annotations would have ${annotations} bytes; the API server accepts ${ANNOTATIONS_BYTES}`;
  const bytes = Buffer.byteLength(JSON.stringify(held));
  return bytes > OBJECT_BYTES
    ? `with a hold it would have ${bytes} bytes, more than ${OBJECT_BYTES}, and etcd might refuse it`
    : undefined;
}

/**
 * Returns the object with the new record of the decision, if there is room for it. Otherwise it keeps the stored record, or has none,
 * so that no update fails because of a record.
 */
export function withRoomForRecord(object: JsonObject, stored: string | undefined): JsonObject {
  if (annotationBytes(object) <= ANNOTATIONS_BYTES) return object;
  const before = withMarks(object, { annotations: { [DECIDED_ANNOTATION]: stored ?? null } });
  if (annotationBytes(before) <= ANNOTATIONS_BYTES) return before;
  return withMarks(object, { annotations: { [DECIDED_ANNOTATION]: null } });
}

function annotationBytes(object: JsonObject): number {
  const annotations = Object.entries(asStringMap(at(object, 'metadata', 'annotations')));
  return annotations.reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
    0,
  );
}
