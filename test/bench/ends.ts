const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Takes away what a piece of work has made, the last first, whatever became of it. */
export async function withEnds<T>(work: (after: (end: () => unknown) => void) => Promise<T>): Promise<T> {
  const ends: (() => unknown)[] = [];
  let interrupted = false;
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
  // Whoever breaks it off leaves nothing behind either. A signal to the whole group comes twice, as whoever started this
  // one passes it on: the second one changes nothing.
  const breakOff = () => {
    if (interrupted) return;
    interrupted = true;
    process.stderr.write('interrupted: taking away what was made ...\n');
    // The work goes on while its ground is taken away, and is not heard any more.
    process.on('unhandledRejection', () => undefined);
    takeAway().then(
      () => process.exit(130),
      (error: unknown) => {
        process.stderr.write(
          `something is left: ${error instanceof Error ? error.message : String(error)}\n`,
        );
        process.exit(130);
      },
    );
  };
  for (const signal of SIGNALS) process.on(signal, breakOff);
  try {
    return await work((end) => ends.push(end));
  } finally {
    if (interrupted) await new Promise<never>(() => undefined);
    for (const signal of SIGNALS) process.off(signal, breakOff);
    await takeAway();
  }
}
