import { systemClock, wait } from '../../../src/clock.ts';
import { inParallel } from '../../support/in-parallel.ts';
import { ORDER, type Outcome } from './stories.ts';
import { createNamespace, createWorkload, deleteNamespace, type Workload, type World } from './workload.ts';

export interface ChurnOptions {
  readonly world: World;
  readonly groups: readonly string[];
  /** Stories that begin in a second. */
  readonly rate: number;
}

export interface Churn {
  /** How many Deployments there are. */
  readonly deployments: number;
  readonly outcomes: Readonly<Record<Outcome | 'namespaces', number>>;
  /** Stories that did not end as they should. */
  readonly problems: readonly string[];
  /** Stories that could not begin in time, as all Deployments were busy. */
  readonly late: number;
  /** Stories begin for so many seconds, at the rate; resolves when all of them are over. */
  run(seconds: number): Promise<void>;
}

const NAMESPACES = 4;
/** Enough for the stories that are under way at a time: each takes 2 to 5 s, on a busy machine twice that. */
const DEPLOYMENTS_PER_STORY = 12;
/** A namespace goes with its hold this often: to delete one takes the API server as much as many holds. */
const STORIES_PER_NAMESPACE = 20;
const KEPT_PROBLEMS = 20;

/** Lives of holds, on Deployments that run. Resolves when these do. */
export async function createChurn({ world, groups, rate }: ChurnOptions): Promise<Churn> {
  const outcomes: Record<Outcome | 'namespaces', number> = {
    opened: 0,
    released: 0,
    superseded: 0,
    reverted: 0,
    bypassed: 0,
    failed: 0,
    deleted: 0,
    namespaces: 0,
  };
  const problems: string[] = [];
  const tell = (what: Outcome) => {
    outcomes[what] += 1;
  };
  let late = 0;
  let told = 0;

  const namespaces = Array.from({ length: NAMESPACES }, (_, index) => `soak-${index + 1}`);
  await inParallel(namespaces, (name) => createNamespace(world, name));
  const deployments = Math.ceil(rate * DEPLOYMENTS_PER_STORY);
  const free = Array.from({ length: deployments }, (_, index) => {
    const group = groups[index % groups.length] ?? '';
    return createWorkload(world, `soak-${1 + (index % NAMESPACES)}`, `app-${index + 1}`, group);
  });
  await inParallel(free, (workload) => workload.deploy());

  async function live(number: number, workload: Workload): Promise<void> {
    await ORDER[number % ORDER.length]?.(workload, tell);
    // One whose story went wrong is not told another one.
    free.push(workload);
  }

  /** A namespace that is deleted while it holds. */
  async function namespaceStory(number: number): Promise<void> {
    const name = `soak-gone-${number}`;
    await createNamespace(world, name);
    const workload = createWorkload(world, name, 'app', groups[number % groups.length] ?? '');
    await workload.deploy();
    await workload.setHeld(workload.newImage('hanging'));
    tell('opened');
    await deleteNamespace(world, name);
    outcomes.namespaces += 1;
  }

  function begin(number: number): Promise<unknown>[] {
    const begun: Promise<void>[] = [];
    const workload = free.shift();
    if (workload === undefined) late += 1;
    else begun.push(live(number, workload));
    if (number % STORIES_PER_NAMESPACE === 0) begun.push(namespaceStory(number));
    return begun.map((story) =>
      story.catch((error: unknown) => {
        if (problems.length < KEPT_PROBLEMS) problems.push(String(error));
      }),
    );
  }

  return {
    deployments,
    outcomes,
    problems,
    get late() {
      return late;
    },
    async run(seconds) {
      const never = new AbortController().signal;
      const began = performance.now();
      const stories: Promise<unknown>[] = [];
      for (let count = 0; count < seconds * rate; count += 1) {
        await wait(systemClock, Math.max(0, began + (1000 * count) / rate - performance.now()), never);
        stories.push(...begin(told));
        told += 1;
      }
      await Promise.all(stories);
    },
  };
}
