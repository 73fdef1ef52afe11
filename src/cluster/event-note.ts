import { cutToBytes, NOTE_BYTES } from './events.ts';

/** A note whose end is never cut: half a command to paste is worse than none. */
export function noteEnding(text: string, ...steps: readonly (string | undefined)[]): string {
  const end = steps.flatMap((step) => (step === undefined ? [] : `; ${step}`)).join('');
  return cutToBytes(text, NOTE_BYTES - Buffer.byteLength(end)) + end;
}
