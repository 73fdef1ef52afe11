import { LRUCache } from 'lru-cache';
import { asArray, asString, at } from '../json.ts';
import { createBoundedReader } from '../template/bounded-reader.ts';
import { REFERENCE_LIMIT } from '../template/image-reference.ts';
import { KEY_CHARACTERS, VALUE_CHARACTERS } from '../template/scheduling.ts';
import { weighsMoreThan } from '../template/weight.ts';
import { elide } from '../text.ts';
import { type IsStartupTaint, parseTaints, startupTaints, type Taint } from './taints.ts';
import { parseTimestamp } from './timestamp.ts';

/** What Pullgate reads of a Node. */
export interface Node {
  readonly name: string;
  /** Milliseconds. What was on a machine of that name before says nothing about this one. */
  readonly createdAt: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Cordoned. */
  readonly unschedulable: boolean;
  /** Without startup taints. */
  readonly taints: readonly Taint[];
  /** Taints that the node has only until it is set up: they exclude nothing. */
  readonly startupTaints: readonly Taint[];
  readonly ready: boolean;
  /** `linux` or `windows`; empty while the kubelet has not said it. */
  readonly os: string;
  readonly deleting: boolean;
  /** The names the kubelet reports: at most 50 images, the largest first. Never a proof of absence. */
  readonly images: ReadonlySet<string>;
  /** Why the gate does not know whether pods could land there: then it has no labels and no taints. */
  readonly refused?: string;
}

/** A node of a cluster with feature discovery has 200 labels, and a taint or two. */
const LABELS = { entries: 1000, key: KEY_CHARACTERS, value: VALUE_CHARACTERS };
const TAINTS = 100;
/** Memory of both, as `weighsMoreThan` counts it: room for 600 labels. */
const NODE_BYTES = 128 * 1024;
/** A kubelet reports 5 names for each of 50 images; without a limit of its own (nodeStatusMaxImages: -1) for hundreds. */
const IMAGE_NAMES = { names: 2000, characters: 256 * 1024 };
const WORD_CHARACTERS = 63;

/** Images are on many nodes, and nodes have dozens: each name is kept once. */
const REMEMBERED_NAMES = 20_000;

export function nodeParser(isStartupTaint: IsStartupTaint): (raw: unknown) => Node {
  const names = new LRUCache<string, string>({ max: REMEMBERED_NAMES });
  return (raw) => {
    const node = parseNode(raw, isStartupTaint);
    return { ...node, images: new Set(node.images.values().map(once)) };
  };

  function once(name: string): string {
    const known = names.get(name);
    if (known === undefined) names.set(name, name);
    return known ?? name;
  }
}

export function parseNode(raw: unknown, isStartupTaint: IsStartupTaint = startupTaints()): Node {
  const metadata = at(raw, 'metadata');
  const spec = at(raw, 'spec');
  const status = at(raw, 'status');
  const { labels, taints, refused } = readWhere(raw);
  const os = labels['kubernetes.io/os'] ?? asString(at(status, 'nodeInfo', 'operatingSystem')) ?? '';
  return {
    name: asString(at(metadata, 'name')) ?? '',
    createdAt: parseTimestamp(at(metadata, 'creationTimestamp')) ?? 0,
    labels,
    unschedulable: at(spec, 'unschedulable') === true,
    taints: taints.filter((taint) => !isStartupTaint(taint)),
    startupTaints: taints.filter(isStartupTaint),
    ready: asArray(at(status, 'conditions')).some(
      (condition) => at(condition, 'type') === 'Ready' && at(condition, 'status') === 'True',
    ),
    os: elide(os, WORD_CHARACTERS),
    deleting: typeof at(metadata, 'deletionTimestamp') === 'string',
    images: imageNames(at(status, 'images')),
    ...(refused !== undefined && { refused }),
  };
}

function readWhere(raw: unknown): Pick<Node, 'labels' | 'taints'> & { readonly refused: string | undefined } {
  const reader = createBoundedReader();
  const labels = reader.labels(at(raw, 'metadata', 'labels'), 'its list of labels', LABELS);
  const taints = parseTaints(reader.list(at(raw, 'spec', 'taints'), 'its list of taints', TAINTS));
  const isLarge = weighsMoreThan(NODE_BYTES, { labels, taints });
  const large = `its labels and taints take more than ${NODE_BYTES / 1024} KiB`;
  const refused = reader.refused() ?? (isLarge ? large : undefined);
  return refused === undefined ? { labels, taints, refused } : { labels: {}, taints: [], refused };
}

/** As many as there is room for: one that is left out costs a pull that finds the image there. */
function imageNames(images: unknown): Set<string> {
  const names = new Set<string>();
  let characters = 0;
  for (const image of asArray(images)) {
    for (const name of asArray(at(image, 'names'))) {
      if (typeof name !== 'string' || name.length > REFERENCE_LIMIT) continue;
      characters += name.length;
      if (names.size >= IMAGE_NAMES.names || characters > IMAGE_NAMES.characters) return names;
      names.add(name);
    }
  }
  return names;
}
