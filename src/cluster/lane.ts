/**
 * Lets so many calls run at a time; the others wait for their turn, in order. Work that comes by the thousand would else take
 * every connection to the API server, and what is urgent would wait behind it.
 */
export type Lane = <T>(call: () => Promise<T>) => Promise<T>;

export function createLane(atATime: number): Lane {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (call) => {
    if (running < atATime) running += 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await call();
    } finally {
      // Its place goes to the next, or is free.
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
