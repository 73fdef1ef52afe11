import {
  DECIDED_ANNOTATION,
  HELD_LABEL,
  HOLD_ANNOTATION,
  REVISION_ANNOTATION,
} from '../../../src/api/names.ts';
import {
  asArray,
  asObject,
  asString,
  asStringMap,
  at,
  isObject,
  type JsonObject,
} from '../../../src/json.ts';

/** What the invariants read of a stored Deployment, by means of their own. */
export interface Stored {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly paused: boolean;
  readonly replicas: number;
  readonly hold: StoredHold | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Without what is the gate's or the Deployment controller's to write. */
  readonly own: string;
  /** The pod template, to compare. */
  readonly template: string;
  readonly images: readonly TemplateImage[];
}

interface StoredHold {
  readonly text: string;
  readonly uid: string;
  readonly userPaused: boolean;
}

interface TemplateImage {
  readonly image: string;
  readonly always: boolean;
}

export function readStored(object: JsonObject): Stored {
  const metadata = asObject(object['metadata']);
  const spec = asObject(object['spec']);
  const annotations = asStringMap(metadata['annotations']);
  return {
    uid: asString(metadata['uid']) ?? '',
    resourceVersion: asString(metadata['resourceVersion']) ?? '',
    generation: Number(metadata['generation'] ?? 0),
    paused: spec['paused'] === true,
    replicas: Number(spec['replicas'] ?? 1),
    hold: readHold(annotations[HOLD_ANNOTATION]),
    labels: asStringMap(metadata['labels']),
    annotations,
    own: ownFields(object),
    template: templateText(object),
    images: imagesOf(spec['template']),
  };
}

function readHold(text: string | undefined): StoredHold | undefined {
  if (text === undefined) return undefined;
  const hold: unknown = JSON.parse(text);
  return { text, uid: asString(at(hold, 'uid')) ?? '', userPaused: at(hold, 'userPaused') === true };
}

function imagesOf(template: unknown): TemplateImage[] {
  const spec = at(template, 'spec');
  return [...asArray(at(spec, 'initContainers')), ...asArray(at(spec, 'containers'))].map((container) => ({
    image: asString(at(container, 'image')) ?? '',
    always: at(container, 'imagePullPolicy') === 'Always',
  }));
}

/** Of a Deployment or a ReplicaSet: the same for both. */
export function templateText(object: JsonObject): string {
  const template = asObject(at(object, 'spec', 'template'));
  const metadata = asObject(template['metadata']);
  const { 'pod-template-hash': _, ...labels } = asObject(metadata['labels']);
  return canonical({ ...template, metadata: { ...metadata, labels } });
}

const MARKS = [HOLD_ANNOTATION, DECIDED_ANNOTATION, REVISION_ANNOTATION];

/** Everything that only the user may change: what Pullgate and the Deployment controller write is left out. */
export function ownFields(object: JsonObject): string {
  const { labels, annotations } = asObject(object['metadata']);
  const { paused: _, ...spec } = asObject(object['spec']);
  const { [HELD_LABEL]: __, ...otherLabels } = asObject(labels);
  const others = Object.entries(asObject(annotations)).filter(([name]) => !MARKS.includes(name));
  return canonical({ labels: otherLabels, annotations: Object.fromEntries(others), spec });
}

/** Fields sorted, and those left out that say nothing. */
function canonical(value: unknown): string {
  return JSON.stringify(pruned(value)) ?? '';
}

function pruned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry: unknown) => pruned(entry) ?? null);
  if (!isObject(value)) return value === null ? undefined : value;
  const entries = Object.entries(value)
    .map(([name, entry]) => [name, pruned(entry)] as const)
    .filter(([, entry]) => entry !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** RFC 7386. */
export function mergePatched(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = { ...asObject(target) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = mergePatched(result[name], value);
  }
  return result;
}
