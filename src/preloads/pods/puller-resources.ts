import { parseQuantity } from '../../api/template/quantity.ts';
import { asArray, asObject, asString, at } from '../../json.ts';

/** Of one container, in the form of a pod spec. */
export type Quantities = Readonly<Record<'cpu' | 'memory', string>>;

export interface PullerResources {
  /** Both, because a ResourceQuota may ask for either. Next to nothing is reserved: a full node refuses what does not fit. */
  readonly requests: Quantities;
  readonly limits: Quantities;
}

export const PULLER_REQUESTS: Quantities = { cpu: '10m', memory: '16Mi' };
/**
 * The limit also applies to the set-up of the containers. Measured with containerd 1.6: at 10m a sandbox takes
 * 2.0 to 2.3 s and a container 1.2 to 2.0 s, at 100m 0.1 to 0.2 s each; more gains next to nothing. A limit reserves nothing, and with
 * 20 MB some pairs of runc and kernel do not start a sandbox (opencontainers/runc#1980).
 */
export const PULLER_LIMITS: Quantities = { cpu: '100m', memory: '64Mi' };

export const PULLER_RESOURCES: PullerResources = { requests: PULLER_REQUESTS, limits: PULLER_LIMITS };

/** Reads `cpu=10m,memory=16Mi`, as `kubectl set resources` takes it. What is not named is that of `fallback`. */
export function parseQuantities(text: string, fallback: Quantities): Quantities | undefined {
  let quantities = fallback;
  for (const part of text.split(',')) {
    const [, name, quantity = ''] = /^(cpu|memory)=(\S+)$/.exec(part.trim()) ?? [];
    const value = parseQuantity(quantity);
    if (name === undefined || value === undefined || value <= 0) return undefined;
    quantities = { ...quantities, [name]: quantity };
  }
  return quantities;
}

/** Whether each limit is at least its request: API servers take no other pod. */
export function areConsistent({ requests, limits }: PullerResources): boolean {
  return RESOURCES.every((name) => read(limits[name]) >= read(requests[name]));
}

const RESOURCES = ['cpu', 'memory'] as const;

function read(quantity: string): number {
  return parseQuantity(quantity) ?? 0;
}

/** What a namespace demands of the resources of a pod. */
export interface ResourceRules {
  readonly min: Partial<Quantities>;
  readonly max: Partial<Quantities>;
  /** Of limit to request. */
  readonly maxRatio: Partial<Quantities>;
}

/** More are read of no namespace. */
const MOST_RULES = 100;

/** Reads LimitRanges. A puller pod has one container, so the limits of a pod and those of a container are the same. */
export function parseLimitRanges(items: readonly unknown[]): readonly ResourceRules[] {
  return items
    .flatMap((item) => asArray(at(item, 'spec', 'limits')))
    .filter((entry) => at(entry, 'type') === 'Container' || at(entry, 'type') === 'Pod')
    .slice(0, MOST_RULES)
    .map((entry) => ({
      min: quantitiesOf(at(entry, 'min')),
      max: quantitiesOf(at(entry, 'max')),
      maxRatio: quantitiesOf(at(entry, 'maxLimitRequestRatio')),
    }));
}

function quantitiesOf(raw: unknown): Partial<Quantities> {
  const map = asObject(raw);
  return Object.fromEntries(
    RESOURCES.flatMap((name) => {
      const quantity = asString(map[name]);
      return quantity !== undefined && parseQuantity(quantity) !== undefined ? [[name, quantity]] : [];
    }),
  );
}

/** Returns the resources that are as close to `wanted` as the LimitRanges of the namespace allow. */
export function fitResources(wanted: PullerResources, rules: readonly ResourceRules[]): PullerResources {
  const fitted = RESOURCES.map((name) => fit(name, wanted, rules));
  const pick = (which: 0 | 1): Quantities => ({
    cpu: fitted[0]?.[which] ?? wanted.requests.cpu,
    memory: fitted[1]?.[which] ?? wanted.requests.memory,
  });
  return { requests: pick(0), limits: pick(1) };
}

function fit(
  name: 'cpu' | 'memory',
  wanted: PullerResources,
  rules: readonly ResourceRules[],
): readonly [request: string, limit: string] {
  let request = wanted.requests[name];
  let limit = wanted.limits[name];
  for (const { min, max } of rules) {
    if (read(request) < read(min[name] ?? request)) request = min[name] ?? request;
    if (read(limit) > read(max[name] ?? limit)) limit = max[name] ?? limit;
  }
  // A minimum above the maximum is the namespace's own fault: its pods cannot be made either.
  if (read(limit) < read(request)) limit = request;
  for (const { maxRatio } of rules) {
    const ratio = read(maxRatio[name] ?? '0');
    // The request grows: a lower limit would slow the pod down.
    if (ratio >= 1 && read(limit) > ratio * read(request)) request = quantityOf(name, read(limit) / ratio);
  }
  return [request, limit];
}

function quantityOf(name: 'cpu' | 'memory', value: number): string {
  return name === 'cpu' ? `${Math.ceil(value * 1000)}m` : String(Math.ceil(value));
}
