import { asNumber, asObject, asString, asStringMap, at, type JsonObject } from '../json.ts';
import { elide, TEXT_LIMIT } from '../text.ts';
import { labelSelectorText } from './label-selector.ts';
import { DEPLOYMENT_LABELS, HELD_LABEL, HOLD_ANNOTATION, REVISION_ANNOTATION } from './names.ts';
import { hashOfDigest, templateDigest } from './template/template-hash.ts';

/** What Pullgate reads of a Deployment, from a review or from the API server. */
export interface Deployment {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  /** Those of the gate alone. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The annotation `deployment.kubernetes.io/revision`; empty until its controller has written it, and if it is no number. */
  readonly revision: string;
  readonly deleting: boolean;
  readonly paused: boolean;
  readonly replicas: number;
  /** In caches only what a preload needs, see `trimTemplate`. */
  readonly template: JsonObject;
  /** Of the whole template. Made when it is first asked for: not every admission needs it. */
  readonly templateHash: string;
  /** As `templateHash`, with more digits: see `templateDigest`. Empty in caches unless the Deployment is held. */
  readonly templateDigest: string;
  /** Selects its pods in a list; undefined if there is no such text: see `labelSelectorText`. */
  readonly podSelector: string | undefined;
  readonly status: DeploymentStatus;
  /** In caches: why the gate does not carry it. Then nothing is known of its template but the hash. */
  readonly refused?: string;
}

export interface DeploymentStatus {
  readonly observedGeneration: number;
  readonly replicas: number;
  readonly updatedReplicas: number;
  readonly readyReplicas: number;
  readonly availableReplicas: number;
  readonly progressing?: {
    readonly status: string;
    readonly reason: string;
    readonly message: string;
    /** RFC 3339, in whole seconds. */
    readonly updatedAt: string;
  };
}

type Fields = Omit<Deployment, 'templateHash' | 'templateDigest'>;

/** A getter in a literal would give every object a hidden class of its own: half as much memory again, and half as much at the p99. */
class ParsedDeployment {
  declare readonly template: JsonObject;
  #digest: string | undefined;

  constructor(fields: Fields) {
    Object.assign(this, fields);
  }

  get templateDigest(): string {
    this.#digest ??= templateDigest(this.template);
    return this.#digest;
  }

  get templateHash(): string {
    return hashOfDigest(this.templateDigest);
  }
}

/** Its `templateHash` and `templateDigest` are not its own properties: a copy by spread has to name them. */
export function parseDeployment(raw: unknown): Deployment {
  const metadata = at(raw, 'metadata');
  const spec = at(raw, 'spec');
  const annotations = asStringMap(at(metadata, 'annotations'));
  const fields: Fields = {
    namespace: asString(at(metadata, 'namespace')) ?? '',
    name: asString(at(metadata, 'name')) ?? '',
    uid: asString(at(metadata, 'uid')) ?? '',
    resourceVersion: asString(at(metadata, 'resourceVersion')) ?? '',
    generation: asNumber(at(metadata, 'generation')) ?? 0,
    labels: parseLabels(at(metadata, 'labels')),
    annotations,
    revision: parseRevision(annotations[REVISION_ANNOTATION]),
    deleting: asString(at(metadata, 'deletionTimestamp')) !== undefined,
    paused: at(spec, 'paused') === true,
    replicas: asNumber(at(spec, 'replicas')) ?? 1,
    template: asObject(at(spec, 'template')),
    podSelector: labelSelectorText(at(spec, 'selector')),
    status: parseStatus(at(raw, 'status')),
  };
  return new ParsedDeployment(fields) as ParsedDeployment & Fields;
}

function parseLabels(labels: unknown): Deployment['labels'] {
  return Object.fromEntries(
    DEPLOYMENT_LABELS.flatMap((name) => {
      const value = asString(at(labels, name));
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** The Deployment controller counts in 64 bits. Any client can write another text there. */
function parseRevision(annotation = ''): string {
  return /^[0-9]{1,19}$/.test(annotation) ? annotation : '';
}

/** Whether it carries a hold, or half of one. */
export function isMarked({ annotations, labels }: Deployment): boolean {
  return annotations[HOLD_ANNOTATION] !== undefined || labels[HELD_LABEL] !== undefined;
}

function parseStatus(status: unknown): DeploymentStatus {
  const conditions = at(status, 'conditions');
  const progressing = Array.isArray(conditions)
    ? conditions.find((condition) => at(condition, 'type') === 'Progressing')
    : undefined;
  return {
    observedGeneration: asNumber(at(status, 'observedGeneration')) ?? 0,
    replicas: asNumber(at(status, 'replicas')) ?? 0,
    updatedReplicas: asNumber(at(status, 'updatedReplicas')) ?? 0,
    readyReplicas: asNumber(at(status, 'readyReplicas')) ?? 0,
    availableReplicas: asNumber(at(status, 'availableReplicas')) ?? 0,
    ...(progressing !== undefined && {
      progressing: {
        status: text(progressing, 'status', WORD_CHARACTERS),
        reason: text(progressing, 'reason', WORD_CHARACTERS),
        message: text(progressing, 'message', TEXT_LIMIT),
        updatedAt: text(progressing, 'lastUpdateTime', WORD_CHARACTERS),
      },
    }),
  };
}

/** The longest word of the Deployment controller has 24 characters. */
const WORD_CHARACTERS = 63;

/** Any client that may write the status has written it. */
function text(condition: unknown, field: string, limit: number): string {
  return elide(asString(at(condition, field)) ?? '', limit);
}
