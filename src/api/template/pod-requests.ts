import { asArray, asObject, at } from '../../json.ts';
import { formatQuantity, parseQuantity } from './quantity.ts';

type Requests = ReadonlyMap<string, number>;

/**
 * Returns what the scheduler reserves on a node for a pod with this spec (k8s.io/component-helpers, resource.PodRequests): the sum of
 * the containers and sidecars, or what an init container needs beside the sidecars before it, whichever is more; requests of the
 * pod as a whole go before both. The overhead of its RuntimeClass is added. Resources of which nothing is requested are left out.
 */
export function podRequests(podSpec: unknown): Readonly<Record<string, string>> {
  let sidecars: Requests = new Map();
  let starting: Requests = new Map();
  for (const container of asArray(at(podSpec, 'initContainers'))) {
    const own = add(requestsOf(container), sidecars);
    if (at(container, 'restartPolicy') === 'Always') sidecars = own;
    starting = largest(starting, own);
  }
  const running = asArray(at(podSpec, 'containers')).map(requestsOf).reduce(add, sidecars);
  const containers = largest(running, starting);
  const total = add(new Map([...containers, ...requestsOf(podSpec)]), quantities(at(podSpec, 'overhead')));
  return Object.fromEntries(
    [...total].flatMap(([name, value]) => (value > 0 ? [[name, formatQuantity(value)]] : [])),
  );
}

/** A limit without a request is also the request: API servers write that into pods, but not into pod templates. */
function requestsOf(container: unknown): Requests {
  const { limits, requests } = asObject(at(container, 'resources'));
  return new Map([...quantities(limits), ...quantities(requests)]);
}

function quantities(map: unknown): Requests {
  return new Map(
    Object.entries(asObject(map)).flatMap(([name, raw]) => {
      const value =
        typeof raw === 'string' || typeof raw === 'number' ? parseQuantity(String(raw)) : undefined;
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

function add(one: Requests, other: Requests): Requests {
  return merged(one, other, (a, b) => a + b);
}

function largest(one: Requests, other: Requests): Requests {
  return merged(one, other, Math.max);
}

function merged(one: Requests, other: Requests, combine: (a: number, b: number) => number): Requests {
  const result = new Map(one);
  for (const [name, value] of other) result.set(name, combine(result.get(name) ?? 0, value));
  return result;
}
