import { asArray, asString, at } from '../../src/json.ts';
import type { Pull } from './results.ts';

/**
 * What the kubelets say of their own pulls of an image: their `Pulled` events, "Successfully pulled image "X" in 30.6s",
 * newer ones with "(31.2s including waiting)". An image that was there already is no pull.
 * @param list an EventList of core/v1
 */
export function kubeletPulls(list: unknown, image: string): Pull[] {
  return asArray(at(list, 'items')).flatMap((event) => {
    const message = asString(at(event, 'message')) ?? '';
    const [, name, own, waiting] =
      /^Successfully pulled image "([^"]+)" in (\S+)(?: \((\S+) including waiting\))?/.exec(message) ?? [];
    const seconds = goSeconds(own ?? '');
    if (name !== image || seconds === undefined) return [];
    return [
      {
        pod: asString(at(event, 'involvedObject', 'name')) ?? '',
        node: asString(at(event, 'source', 'host')) || (asString(at(event, 'reportingInstance')) ?? ''),
        seconds,
        secondsWithWaiting: goSeconds(waiting ?? '') ?? seconds,
      },
    ];
  });
}

const UNITS: Readonly<Record<string, number>> = {
  h: 3600,
  m: 60,
  s: 1,
  ms: 1e-3,
  µs: 1e-6,
  us: 1e-6,
  ns: 1e-9,
};

/** Reads a duration as Go prints it, such as `1m2.5s` or `850ms`. */
function goSeconds(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(h|ms|m|s|µs|us|ns))+$/.test(text)) return undefined;
  return [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|µs|us|ns)/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * (UNITS[unit ?? ''] ?? 0),
    0,
  );
}
