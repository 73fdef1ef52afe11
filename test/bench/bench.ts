/** What one line of a table holds: numbers as measured, and the words that say what they are of. */
export type Row = Readonly<Record<string, string | number>>;

/** What a ratio is to be. */
export interface Goal {
  readonly is: '<' | '<=' | '>=';
  readonly limit: number;
}

/** What a bench comes back with. */
export interface Measured {
  /** Of what took part, beyond Node and the gate. */
  readonly versions?: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
  readonly ratios: Readonly<Record<string, number>>;
  /** What a reader has to know to take the numbers for what they are. */
  readonly notes: readonly string[];
}

export type Progress = (line: string) => void;

export interface Bench {
  readonly name: string;
  /** A sentence for the list and the documentation. */
  readonly title: string;
  /** `lab`: it runs in the hub's network namespace, as the tests of the gate do. */
  readonly needs: 'cores' | 'lab';
  /** Its pods run the gate's image, which has to be built before. */
  readonly needsGateImage?: boolean;
  readonly goals: Readonly<Record<string, Goal>>;
  /** How long a whole run took on 2 cores. */
  readonly minutes: number;
  /** The names of its points, if it has some. */
  readonly points?: readonly string[];
  /**
   * `short`: a few rounds, to see that it works; the numbers are noise. `point`: only this one of its points.
   */
  run(progress: Progress, short: boolean, point?: string): Promise<Measured>;
}

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGb: number;
  readonly system: string;
}

/** What `npm run bench -- <name>` prints, and what docs/benchmarks.md is made of. */
export interface BenchResult {
  readonly name: string;
  readonly title: string;
  readonly date: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
  readonly rows: readonly Row[];
  readonly ratios: Readonly<Record<string, number>>;
  readonly goals: Readonly<Record<string, Goal & { readonly met: boolean }>>;
}

function isMet({ is, limit }: Goal, ratio: number | undefined): boolean {
  if (ratio === undefined || !Number.isFinite(ratio)) return false;
  if (is === '<') return ratio < limit;
  return is === '<=' ? ratio <= limit : ratio >= limit;
}

/** In words, one each. */
export function missedGoals({ goals, ratios }: Pick<BenchResult, 'goals' | 'ratios'>): string[] {
  return Object.entries(goals).flatMap(([name, { is, limit, met }]) =>
    met ? [] : [`${name} ${ratios[name] ?? 'not measured'} (${is} ${limit})`],
  );
}

export function judged(
  goals: Bench['goals'],
  ratios: Measured['ratios'],
): Record<string, Goal & { readonly met: boolean }> {
  return Object.fromEntries(
    Object.entries(goals).map(([name, goal]) => [name, { ...goal, met: isMet(goal, ratios[name]) }]),
  );
}
