import { asNumber, at, isObject } from '../../json.ts';
import type { BoundedReader } from './bounded-reader.ts';
import { NAME_CHARACTERS } from './object-name.ts';
import { QUANTITY_CHARACTERS } from './quantity.ts';

/** The part of a pod spec that says where its pods may land. The shape is that of `ImagePreload.spec.scheduling`. */
export interface Scheduling {
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** The part of a pod's affinity that keeps it from nodes. */
  readonly affinity?: {
    readonly nodeAffinity: { readonly requiredDuringSchedulingIgnoredDuringExecution: NodeSelector };
  };
  readonly tolerations?: readonly Toleration[];
  readonly runtimeClassName?: string;
  /** The node that the pods are bound to without a scheduler, so that neither its taints nor a cordon keeps them away. */
  readonly nodeName?: string;
  /** What the scheduler reserves for one pod, by resource, as quantities: see `podRequests`. A pod spec has no such field. */
  readonly requests?: Readonly<Record<string, string>>;
}

/** As in a pod spec, and so written back as it is. */
export interface NodeSelector {
  readonly nodeSelectorTerms?: readonly NodeSelectorTerm[];
}

export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly NodeRequirement[];
  readonly matchFields?: readonly NodeRequirement[];
}

export interface NodeRequirement {
  readonly key?: string;
  readonly operator?: string;
  readonly values?: readonly string[];
}

/** As in a pod spec, and written back as it is: a puller pod carries those of its workload. */
export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
}

/** The longest label key: a DNS subdomain, a slash and a name (apimachinery, util/validation). */
export const KEY_CHARACTERS = 253 + 1 + 63;
export const VALUE_CHARACTERS = 63;
/** Room for an operator or an effect. The longest one of Kubernetes has 16 characters. */
const WORD_CHARACTERS = 63;

/**
 * The most entries that the gate accepts. Usual templates have a handful of each. Values have a limit of their own, because the
 * longest known affinity lists names of nodes. deploy/crd.yaml has the same numbers.
 */
export const SCHEDULING_LIMITS = {
  nodeSelector: { entries: 100, key: KEY_CHARACTERS, value: VALUE_CHARACTERS },
  terms: 100,
  requirements: 100,
  values: 500,
  /** The name of a node is the longest value there is. */
  value: NAME_CHARACTERS,
  tolerations: 100,
  requests: { entries: 100, key: KEY_CHARACTERS, value: QUANTITY_CHARACTERS },
} as const;

/** Reads a pod spec, or `ImagePreload.spec.scheduling`: the fields have the same names. */
export function readScheduling(podSpec: unknown, reader: BoundedReader): Scheduling {
  const limits = SCHEDULING_LIMITS;
  const nodeSelector = reader.labels(at(podSpec, 'nodeSelector'), 'nodeSelector', limits.nodeSelector);
  const required = readRequired(at(podSpec, 'affinity'), reader);
  const tolerations = reader
    .list(at(podSpec, 'tolerations'), 'tolerations', limits.tolerations)
    .map((toleration) => readToleration(toleration, reader));
  const runtimeClassName = reader.name(at(podSpec, 'runtimeClassName'), 'runtimeClassName');
  const nodeName = reader.name(at(podSpec, 'nodeName'), 'nodeName');
  const requests = reader.labels(numbersAsText(at(podSpec, 'requests')), 'requests', limits.requests);
  return {
    ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    ...(required !== undefined && {
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } },
    }),
    ...(tolerations.length > 0 && { tolerations }),
    ...(runtimeClassName && { runtimeClassName }),
    ...(nodeName && { nodeName }),
    ...(Object.keys(requests).length > 0 && { requests }),
  };
}

/** People write `nvidia.com/gpu: 1`, which is a quantity as well. */
function numbersAsText(map: unknown): unknown {
  if (!isObject(map)) return map;
  const texts = Object.entries(map).map(([key, value]) => [
    key,
    typeof value === 'number' ? String(value) : value,
  ]);
  return Object.fromEntries(texts);
}

function readRequired(affinity: unknown, reader: BoundedReader): NodeSelector | undefined {
  const nodeAffinity = reader.object(at({ affinity }, 'affinity'), 'affinity')['nodeAffinity'];
  const required = reader.object(nodeAffinity, 'nodeAffinity')[
    'requiredDuringSchedulingIgnoredDuringExecution'
  ];
  if (required === undefined || required === null) return undefined;
  const { nodeSelectorTerms } = reader.object(required, 'the required nodeAffinity');
  const terms = reader
    .list(nodeSelectorTerms, 'nodeSelectorTerms', SCHEDULING_LIMITS.terms)
    .map((term) => readTerm(term, reader));
  return { nodeSelectorTerms: terms };
}

function readTerm(raw: unknown, reader: BoundedReader): NodeSelectorTerm {
  const term = reader.object(raw, 'a term of nodeAffinity');
  const read = (field: 'matchExpressions' | 'matchFields') => {
    const requirements = reader.list(term[field], field, SCHEDULING_LIMITS.requirements);
    return (
      requirements.length > 0 && { [field]: requirements.map((entry) => readRequirement(entry, reader)) }
    );
  };
  return { ...read('matchExpressions'), ...read('matchFields') };
}

function readRequirement(raw: unknown, reader: BoundedReader): NodeRequirement {
  const requirement = reader.object(raw, 'a requirement of nodeAffinity');
  const key = reader.text(requirement['key'], 'a key of nodeAffinity', KEY_CHARACTERS);
  const operator = reader.text(requirement['operator'], 'an operator of nodeAffinity', WORD_CHARACTERS);
  const values = reader
    .list(requirement['values'], 'the values of a requirement of nodeAffinity', SCHEDULING_LIMITS.values)
    .map((value) => reader.text(value, 'a value of nodeAffinity', SCHEDULING_LIMITS.value) ?? '');
  return {
    ...(key !== undefined && { key }),
    ...(operator !== undefined && { operator }),
    ...(values.length > 0 && { values }),
  };
}

function readToleration(raw: unknown, reader: BoundedReader): Toleration {
  const toleration = reader.object(raw, 'a toleration');
  const key = reader.text(toleration['key'], 'the key of a toleration', KEY_CHARACTERS);
  const operator = reader.text(toleration['operator'], 'the operator of a toleration', WORD_CHARACTERS);
  const value = reader.text(toleration['value'], 'the value of a toleration', VALUE_CHARACTERS);
  const effect = reader.text(toleration['effect'], 'the effect of a toleration', WORD_CHARACTERS);
  const tolerationSeconds = asNumber(toleration['tolerationSeconds']);
  return {
    ...(key !== undefined && { key }),
    ...(operator !== undefined && { operator }),
    ...(value !== undefined && { value }),
    ...(effect !== undefined && { effect }),
    ...(tolerationSeconds !== undefined && { tolerationSeconds }),
  };
}
