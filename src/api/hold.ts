import { asObject, asString, asStringMap, at, isObject, type JsonObject } from '../json.ts';
import type { Deployment } from './deployment.ts';
import { HELD_LABEL, HOLD_ANNOTATION, USERNAME_LIMIT } from './names.ts';

/** What a rollout is compared with: the template that runs while the new one is held. */
export interface RunningTemplate {
  /** Hash of the running pod template. */
  readonly template: string;
  /** Its `templateDigest`. Versions that knew no approvals wrote none. */
  readonly digest?: string;
  /** Its images by place (see `TemplateImage.place`). */
  readonly images: Readonly<Record<string, string>>;
}

/**
 * The hold, as it stands in the annotation `pullgate.io/hold` of a Deployment. While it is there,
 * `spec.paused: true` is Pullgate's.
 */
export interface Hold {
  readonly v: 1;
  /** uid of the Deployment it was made for: a copy of the annotation on another object is no hold. */
  readonly uid: string;
  /** Name of the ImagePreload that is waited for. */
  readonly preload: string;
  /** Hash of the held pod template. */
  readonly template: string;
  readonly from: RunningTemplate;
  /** RFC 3339, when the gate began to hold this template. */
  readonly since: string;
  /** What the user wants `spec.paused` to be, and what the release restores. */
  readonly userPaused: boolean;
  /** Admission writes it for a user who may approve. */
  readonly approved?: Approval;
}

export interface Approval {
  /** The `templateDigest` that is approved. */
  readonly template: string;
  /** The user, as the API server authenticated it. */
  readonly by: string;
  /** RFC 3339. */
  readonly at: string;
}

export function writeHold(hold: Hold): string {
  const { v, uid, preload, template, from, since, userPaused, approved } = hold;
  return JSON.stringify({ v, uid, preload, template, from, since, userPaused, approved });
}

/**
 * Of the annotation. A hold names the images that run: 300 characters and 260 for each container, so this is room for more than 100
 * of them. Annotations share 256 KiB.
 */
export const HOLD_CHARACTERS = 32 * 1024;

const PRELOAD_NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;

/** `undefined` for anything that is not a whole hold of a version this gate knows. */
export function parseHold(annotation: string | undefined): Hold | undefined {
  if (annotation === undefined || annotation.length > HOLD_CHARACTERS) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(annotation);
  } catch {
    return undefined;
  }
  if (!isObject(json) || json['v'] !== 1) return undefined;
  const uid = asString(json['uid']);
  const preload = asString(json['preload']);
  const template = asString(json['template']);
  const since = asString(json['since']);
  const running = asString(at(json, 'from', 'template'));
  if (!uid || !preload || !template || !since || !running || Number.isNaN(Date.parse(since)))
    return undefined;
  // It becomes part of an API path and of a command to paste, and any user who may edit the Deployment could have written it.
  if (!PRELOAD_NAME.test(preload)) return undefined;
  const digest = asString(at(json, 'from', 'digest'));
  const approved = parseApproval(json['approved']);
  return {
    v: 1,
    uid,
    preload,
    template,
    from: {
      template: running,
      ...(digest !== undefined && { digest }),
      images: asStringMap(at(json, 'from', 'images')),
    },
    since,
    userPaused: json['userPaused'] === true,
    ...(approved && { approved }),
  };
}

function parseApproval(json: unknown): Approval | undefined {
  const template = asString(at(json, 'template'));
  const by = asString(at(json, 'by'));
  const time = asString(at(json, 'at'));
  if (!template || !by || !time || Number.isNaN(Date.parse(time))) return undefined;
  return { template, by: by.slice(0, USERNAME_LIMIT), at: time };
}

/** Returns the hold on the Deployment if it was made for this very one. */
export function ownHold({ annotations, uid }: Pick<Deployment, 'annotations' | 'uid'>): Hold | undefined {
  const hold = parseHold(annotations[HOLD_ANNOTATION]);
  return hold?.uid === uid ? hold : undefined;
}

/** All that Pullgate ever writes on a Deployment. `null` removes, absent leaves alone. */
interface Marks {
  readonly hold?: Hold | null;
  readonly paused?: boolean;
  readonly annotations?: Readonly<Record<string, string | null>>;
}

/**
 * The Deployment with these marks. What does not change is shared with the given object, which itself is not touched:
 * a diff of the two sees no more than the marks. Where nothing changes it is the given object.
 */
export function withMarks(object: JsonObject, marks: Marks): JsonObject {
  const metadata = asObject(object['metadata']);
  const spec = asObject(object['spec']);
  const annotations: Record<string, string | null> = { ...marks.annotations };
  const labels: Record<string, string | null> = {};
  if (marks.hold !== undefined) {
    annotations[HOLD_ANNOTATION] = marks.hold === null ? null : writeHold(marks.hold);
    labels[HELD_LABEL] = marks.hold === null ? null : 'true';
  }
  const marked = withMap(withMap(metadata, 'annotations', annotations), 'labels', labels);
  const halted = marks.paused === undefined ? spec : withPaused(spec, marks.paused);
  return marked === metadata && halted === spec ? object : { ...object, metadata: marked, spec: halted };
}

function withMap(
  metadata: JsonObject,
  key: 'annotations' | 'labels',
  changes: Record<string, string | null>,
): JsonObject {
  const before = asStringMap(at(metadata, key));
  const after: Record<string, string> = { ...before };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete after[name];
    else after[name] = value;
  }
  const same =
    Object.keys(after).length === Object.keys(before).length &&
    Object.entries(after).every(([name, value]) => before[name] === value);
  return same ? metadata : { ...metadata, [key]: after };
}

/** The API server leaves a false `paused` out, so false and absent are the same and neither is written for the other. */
function withPaused(spec: JsonObject, paused: boolean): JsonObject {
  if ((spec['paused'] === true) === paused) return spec;
  if (paused) return { ...spec, paused: true };
  const { paused: _, ...rest } = spec;
  return rest;
}

/** Returns the digest of the running pod template, or its hash if the hold is of an earlier version. */
export function digestToRestore({ from }: Hold): string {
  return from.digest ?? from.template;
}
