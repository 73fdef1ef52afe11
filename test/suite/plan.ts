/** What runs when, and beside what. */
export interface Plan {
  /** Side by side, each on one of the labs, in this order. */
  readonly together: readonly string[];
  /** One after the other, while the machine does nothing else. */
  readonly alone: readonly string[];
  /** After all of these. */
  readonly last: readonly string[];
  /** When nothing needs the lab any more. */
  readonly destroying: readonly string[];
}

const inE2e = (names: readonly string[]) => names.map((name) => `test/e2e/${name}.test.ts`);

/**
 * What the oldest release has to show: the main job, installation, upgrade, uninstallation, and the rows of the behaviour table
 * that depend on kubectl, whose release is that of the cluster.
 */
export const ON_THE_OLDEST = inE2e(['hold-and-release', 'in-cluster', 'reject', 'updates', 'upgrade']);

/** They judge CPU, memory or times of a second or two, to which whatever else runs would add. */
const ALONE = inE2e([
  'bench-admission',
  'bench-hold',
  'bench-noop',
  'bench-scale',
  'bench-start',
  // Certificates that live for seconds.
  'certificate-rotation',
  // How long a hold takes with somebody else's load, and without.
  'hostile-tenant',
  'release-latency',
  'replica-start',
  'roll-back-warm',
  'soak',
]);

/** Those of more than 40 s begin first, so that the labs end at the same time. The longest is the first. */
const LONG = inE2e([
  'faults',
  'model',
  'autoscaler',
  'in-cluster',
  'updates',
  'surroundings',
  'upgrade',
  'registry-faults',
  'images',
  'network-policy',
  'ways-out',
  'helm',
  'settings',
  'rolling-restart',
  'certificates-by-hand',
  'reject',
  'pod-shape',
  'prometheus',
  'flux',
]);

/** @throws Error if a file that has a place here is not there any more */
export function plan(files: readonly string[]): Plan {
  const missing = [...ON_THE_OLDEST, ...ALONE, ...LONG].filter((file) => !files.includes(file));
  if (missing.length > 0)
    throw new Error(`test/suite/plan.ts names what is not there: ${missing.join(', ')}`);
  const sorted = files.toSorted((a, b) => a.localeCompare(b, 'en'));
  const destroying = sorted.filter((file) => file.includes('/destroys-lab/'));
  const last = sorted.filter((file) => file.includes('/last/'));
  const placed = new Set([...destroying, ...last, ...ALONE, ...LONG]);
  return {
    together: [...LONG, ...sorted.filter((file) => !placed.has(file))],
    alone: ALONE,
    last,
    // The one that ends the lab comes after the one that heals it.
    destroying: destroying.toReversed(),
  };
}
