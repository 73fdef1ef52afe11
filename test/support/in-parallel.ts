/** As many calls at a time as the API client has connections (MAX_CONNECTIONS of src/cluster/api-client.ts, less its watches). */
const AT_A_TIME = 60;

/** Runs `one` for each item, many at a time; throws the first error once all that had begun are over. */
export async function inParallel<T>(
  items: Iterable<T>,
  one: (item: T) => Promise<unknown>,
  atATime = AT_A_TIME,
): Promise<void> {
  const left = items[Symbol.iterator]();
  const errors: unknown[] = [];
  async function worker(): Promise<void> {
    for (let next = left.next(); next.done !== true && errors.length === 0; next = left.next()) {
      await one(next.value).catch((error: unknown) => errors.push(error));
    }
  }
  await Promise.all(Array.from({ length: atATime }, worker));
  if (errors.length > 0) throw errors[0];
}
