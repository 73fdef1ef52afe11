import { asString, asStringMap, at, isObject } from '../json.ts';
import type { Deployment } from './deployment.ts';
import { HOLD_ANNOTATION } from './names.ts';

/** What a rollout is compared with: the template that runs while the new one is held. */
export interface RunningTemplate {
  /** Hash of the running pod template. */
  readonly template: string;
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
}

export function writeHold(hold: Hold): string {
  const { v, uid, preload, template, from, since, userPaused } = hold;
  return JSON.stringify({ v, uid, preload, template, from, since, userPaused });
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
  return {
    v: 1,
    uid,
    preload,
    template,
    from: { template: running, images: asStringMap(at(json, 'from', 'images')) },
    since,
    userPaused: json['userPaused'] === true,
  };
}

/** Returns the hold on the Deployment if it was made for this very one. */
export function ownHold({ annotations, uid }: Pick<Deployment, 'annotations' | 'uid'>): Hold | undefined {
  const hold = parseHold(annotations[HOLD_ANNOTATION]);
  return hold?.uid === uid ? hold : undefined;
}
