import pino from 'pino';
import type { Logger } from '../../../src/log.ts';

/** A logger that keeps its lines, parsed. */
export function logDouble(): { readonly log: Logger; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { level: 'debug', base: null },
    { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  );
  return { log, lines };
}
