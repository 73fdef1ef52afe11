import { join } from 'node:path';
import { type GoModuleName, goPrograms, programsFolder } from './go-modules.ts';
import { withLock } from './lock.ts';
import { cacheFolder } from './paths.ts';

/** Real programs that run beside Pullgate in the tests, and the module that each is built from. */
const NEIGHBOURS = {
  'flux-apply': 'flux-apply',
  helm: 'helm',
  'kube-network-policies': 'network-policies',
  'metrics-server': 'metrics-server',
  prometheus: 'prometheus',
  promtool: 'prometheus',
} as const satisfies Record<string, GoModuleName>;

export type Neighbour = keyof typeof NEIGHBOURS;

/** Builds those that the cache lacks. */
export async function buildNeighbours(log: (line: string) => void): Promise<void> {
  await withLock(log, async () => {
    for (const module of new Set(Object.values(NEIGHBOURS))) {
      const programs = Object.entries(NEIGHBOURS).flatMap(([program, of]) => (of === module ? program : []));
      await goPrograms(cacheFolder(), module, programs, log);
    }
  });
}

/** The path of a program that `buildNeighbours` has built. */
export function neighbour(program: Neighbour): string {
  return join(programsFolder(cacheFolder(), NEIGHBOURS[program]), program);
}
