import { after } from 'node:test';
import type { Scope } from './namespace.ts';

/**
 * For what a suite's `before` makes: gone when the suite ends. `after` itself, called inside of a `before`, runs as soon as
 * that hook has ended (Node 24.21).
 */
export function suiteScope(): Scope {
  const ends: (() => unknown)[] = [];
  after(async () => {
    for (const end of ends) await end();
  });
  return { after: (end) => ends.push(end) };
}
