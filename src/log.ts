import {
  type DestinationStream,
  type LevelWithSilentOrString,
  type Logger,
  pino,
  stdSerializers,
} from 'pino';
import { elide } from './text.ts';

export type { Logger } from 'pino';

/** The longest text in a line. The reason for a bypass, an image name or the error of a webhook may have hundreds of kilobytes. */
const LOG_CHARACTERS = 2048;
/** The most entries of a list, and fields of an object. */
const LOG_ENTRIES = 20;
/** An error, its cause, and the cause of that. */
const LOG_DEPTH = 4;

/** Returns a logger that shortens what users, registries and webhooks wrote. */
export function createLogger(level: LevelWithSilentOrString, to: DestinationStream): Logger {
  return pino(
    {
      level,
      serializers: { err: (error: Error) => shortened(stdSerializers.err(error)) },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map((arg) => shortened(arg)) as Parameters<typeof method>);
        },
      },
    },
    to,
  );
}

function shortened(value: unknown, depth = LOG_DEPTH): unknown {
  if (typeof value === 'string') return elide(value, LOG_CHARACTERS);
  // An error is shortened by its serializer.
  if (typeof value !== 'object' || value === null || value instanceof Error) return value;
  if (depth === 0) return '…';
  if (Array.isArray(value)) {
    const entries = value.slice(0, LOG_ENTRIES).map((entry) => shortened(entry, depth - 1));
    return value.length > LOG_ENTRIES ? [...entries, `… ${value.length - LOG_ENTRIES} more`] : entries;
  }
  const fields = Object.entries(value).slice(0, LOG_ENTRIES);
  return Object.fromEntries(fields.map(([name, field]) => [name, shortened(field, depth - 1)]));
}
