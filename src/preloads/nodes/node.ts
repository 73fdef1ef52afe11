import { LRUCache } from 'lru-cache';
import { createBoundedReader } from '../../api/template/bounded-reader.ts';
import { REFERENCE_LIMIT } from '../../api/template/image-reference.ts';
import { KEY_CHARACTERS, VALUE_CHARACTERS } from '../../api/template/scheduling.ts';
import { weighsMoreThan } from '../../api/template/weight.ts';
import { parseTimestamp } from '../../api/timestamp.ts';
import { asArray, asString, at } from '../../json.ts';
import { elide } from '../../text.ts';
import { type Capacity, parseCapacity } from './capacity.ts';
import { type IsStartupTaint, parseTaints, startupTaints, type Taint } from './taints.ts';

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
  readonly capacity: Capacity;
  /** `linux` or `windows`; empty while the kubelet has not said it. */
  readonly os: string;
  readonly deleting: boolean;
  /** Another one after each start of the machine; empty if it is not known. */
  readonly bootId: string;
  /** The names that the kubelet reports: by default of 50 images at most, the largest first. */
  readonly images: ReadonlySet<string>;
  /** The kubelet has not cut that list, and neither have we: an image that is not in it is not on the node. */
  readonly imagesComplete: boolean;
  /** The kubelet asks the registry again for an image that it has if another pod comes with other credentials. */
  readonly checksCredentials: boolean;
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
    capacity: parseCapacity(at(status, 'capacity')),
    os: elide(os, WORD_CHARACTERS),
    deleting: typeof at(metadata, 'deletionTimestamp') === 'string',
    bootId: elide(asString(at(status, 'nodeInfo', 'bootID')) ?? '', WORD_CHARACTERS),
    ...readImages(asArray(at(status, 'images'))),
    checksCredentials: checksCredentials(asString(at(status, 'nodeInfo', 'kubeletVersion')) ?? ''),
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

/** The default of nodeStatusMaxImages. A shorter list is whole, unless the kubelet's cap is lower. */
const LISTED_IMAGES = 50;

/** As many as there is room for: one that is left out costs a pull that finds the image there. */
function readImages(images: readonly unknown[]): Pick<Node, 'images' | 'imagesComplete'> {
  const names = new Set<string>();
  let characters = 0;
  let imagesComplete = images.length > 0 && images.length < LISTED_IMAGES;
  for (const image of images) {
    for (const name of asArray(at(image, 'names'))) {
      const fits =
        typeof name === 'string' &&
        name.length <= REFERENCE_LIMIT &&
        names.size < IMAGE_NAMES.names &&
        characters + name.length <= IMAGE_NAMES.characters;
      if (fits) {
        characters += name.length;
        names.add(name);
      } else imagesComplete = false;
    }
  }
  return { images: names, imagesComplete };
}

/** From Kubernetes 1.35 on the feature gate KubeletEnsureSecretPulledImages is on by default. */
function checksCredentials(kubeletVersion: string): boolean {
  const [, major, minor] =
    /^v?(\d{1,4})\.(\d{1,4})(?:\D|$)/.exec(kubeletVersion.slice(0, WORD_CHARACTERS)) ?? [];
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 35);
}
