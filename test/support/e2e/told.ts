import type { Namespace, ToldEvent } from './namespace.ts';
import { until } from './until.ts';

/** Until an Event with this reason tells it of the object of that name. Where the time is a promise, give it. */
export async function told(
  namespace: Namespace,
  about: string,
  reason: string,
  seconds = 30,
): Promise<ToldEvent> {
  const events = await until(
    `${reason} is told of ${about}`,
    seconds,
    () => namespace.events(about),
    (all) => all.some((event) => event.reason === reason),
  );
  const found = events.find((event) => event.reason === reason);
  if (found === undefined) throw new Error(reason);
  return found;
}
