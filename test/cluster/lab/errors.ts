/**
 * An error whose message is written for the person at the terminal: what is wrong and what to do about it.
 */
export class LabError extends Error {
  override name = 'LabError';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
