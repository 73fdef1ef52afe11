import { LRUCache } from 'lru-cache';
import { asArray, asString, asStringMap, at } from '../json.ts';
import { parseTaints, type Taint } from './taints.ts';
import { parseTimestamp } from './timestamp.ts';

/** What Pullgate reads of a Node. */
export interface Node {
  readonly name: string;
  /** Milliseconds. What was on a machine of that name before says nothing about this one. */
  readonly createdAt: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Cordoned. */
  readonly unschedulable: boolean;
  readonly taints: readonly Taint[];
  readonly ready: boolean;
  /** `linux` or `windows`; empty while the kubelet has not said it. */
  readonly os: string;
  readonly deleting: boolean;
  /** The names the kubelet reports: at most 50 images, the largest first. Never a proof of absence. */
  readonly images: ReadonlySet<string>;
}

/** Images are on many nodes, and nodes have dozens: each name is kept once. */
const REMEMBERED_NAMES = 20_000;

export function nodeParser(): (raw: unknown) => Node {
  const names = new LRUCache<string, string>({ max: REMEMBERED_NAMES });
  return (raw) => {
    const node = parseNode(raw);
    return { ...node, images: new Set(node.images.values().map(once)) };
  };

  function once(name: string): string {
    const known = names.get(name);
    if (known === undefined) names.set(name, name);
    return known ?? name;
  }
}

export function parseNode(raw: unknown): Node {
  const metadata = at(raw, 'metadata');
  const spec = at(raw, 'spec');
  const status = at(raw, 'status');
  const labels = asStringMap(at(metadata, 'labels'));
  return {
    name: asString(at(metadata, 'name')) ?? '',
    createdAt: parseTimestamp(at(metadata, 'creationTimestamp')) ?? 0,
    labels,
    unschedulable: at(spec, 'unschedulable') === true,
    taints: parseTaints(at(spec, 'taints')),
    ready: asArray(at(status, 'conditions')).some(
      (condition) => at(condition, 'type') === 'Ready' && at(condition, 'status') === 'True',
    ),
    os: labels['kubernetes.io/os'] ?? asString(at(status, 'nodeInfo', 'operatingSystem')) ?? '',
    deleting: typeof at(metadata, 'deletionTimestamp') === 'string',
    images: new Set(
      asArray(at(status, 'images'))
        .flatMap((image) => asArray(at(image, 'names')))
        .filter((name) => typeof name === 'string'),
    ),
  };
}
