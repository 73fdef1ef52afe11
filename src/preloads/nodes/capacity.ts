import { parseQuantity } from '../../api/template/quantity.ts';
import { KEY_CHARACTERS } from '../../api/template/scheduling.ts';
import { asObject } from '../../json.ts';

/** What a node has in all, by resource. Resources that cannot be read are left out. */
export type Capacity = Readonly<Record<string, number>>;

/** A node has a dozen resources; one with many kinds of devices a few dozen. */
const RESOURCES = 200;

/** Returns `status.capacity`; empty if the node has not reported it, or reports more resources than are read. */
export function parseCapacity(raw: unknown): Capacity {
  const entries = Object.entries(asObject(raw));
  if (entries.length > RESOURCES) return {};
  return Object.fromEntries(
    entries.flatMap(([name, value]) => {
      const text = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
      const quantity = name.length <= KEY_CHARACTERS ? parseQuantity(text) : undefined;
      return quantity === undefined ? [] : [[name, quantity] as const];
    }),
  );
}

/** Every node has these, whether or not it says so. */
const ALWAYS_THERE: ReadonlySet<string> = new Set(['cpu', 'memory', 'ephemeral-storage']);
/** Sums of fractions differ in the last bits. */
const ROUNDING = 1 + 1e-9;

/**
 * Returns whether a node of that capacity could never hold a pod with these requests, even if it were empty. The capacity counts and not
 * what is allocatable: that may change with the configuration of the kubelet.
 */
export function lacks(
  requests: Readonly<Record<string, string>> | undefined,
): (capacity: Capacity) => boolean {
  const wanted = Object.entries(requests ?? {}).flatMap(([name, text]) => {
    const quantity = parseQuantity(text);
    return quantity === undefined || quantity <= 0 ? [] : [{ name, quantity }];
  });
  return (capacity) =>
    Object.keys(capacity).length > 0 &&
    wanted.some(({ name, quantity }) => {
      const has = Object.hasOwn(capacity, name) ? capacity[name] : undefined;
      return has === undefined ? !ALWAYS_THERE.has(name) : quantity > has * ROUNDING;
    });
}
