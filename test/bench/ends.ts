/** Takes away what a piece of work has made, the last first, whatever became of it. */
export async function withEnds<T>(work: (after: (end: () => unknown) => void) => Promise<T>): Promise<T> {
  const ends: (() => unknown)[] = [];
  const takeAway = async () => {
    const errors: unknown[] = [];
    for (let end = ends.pop(); end !== undefined; end = ends.pop()) {
      try {
        await end();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  };
  // Whoever breaks it off leaves nothing behind either.
  const breakOff = () => void takeAway().finally(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, breakOff);
  try {
    return await work((end) => ends.push(end));
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, breakOff);
    await takeAway();
  }
}
