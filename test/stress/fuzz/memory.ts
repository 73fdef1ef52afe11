import type { FuzzReport } from './fuzz.ts';

/** What a server may have grown by when it has answered everything, however much that was. */
export const MEMORY_LIMIT_MB = 20;

export function memoryGrowth({ before, after }: Pick<FuzzReport, 'before' | 'after'>) {
  const mb = (bytes: number) => Math.round(bytes / 1e5) / 10;
  return {
    usedMb: mb(after.used - before.used),
    afterMb: mb(after.used),
    residentMb: mb(after.resident - before.resident),
  };
}
