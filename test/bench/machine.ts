import { cpus, release, totalmem, type } from 'node:os';
import manifest from '../../package.json' with { type: 'json' };
import type { Machine } from './bench.ts';

/** What the numbers depend on, and nothing that tells whose machine it is. */
export function machine(): Machine {
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGb: Math.round(totalmem() / 1024 ** 3),
    system: `${type()} ${release()}`,
  };
}

export function versions(): Record<string, string> {
  return { pullgate: manifest.version, node: process.versions.node, openssl: process.versions.openssl };
}
