import { MIN_NODES_ANNOTATION } from '../../../src/api/names.ts';
import type { Workload } from './workload.ts';

/** What becomes of a hold. */
export type Outcome = 'opened' | 'released' | 'superseded' | 'reverted' | 'bypassed' | 'failed' | 'deleted';

type Story = (workload: Workload, tell: (what: Outcome) => void) => Promise<void>;

/** The lives of a hold, from a Deployment that runs to one that runs. */
const STORIES = {
  released: async (workload, tell) => {
    const image = workload.newImage();
    await workload.setHeld(image);
    tell('opened');
    await finish(workload, image, tell);
  },
  superseded: async (workload, tell) => {
    await workload.setHeld(workload.newImage('hanging'));
    tell('opened');
    const image = workload.newImage();
    await workload.setHeld(image);
    tell('superseded');
    await finish(workload, image, tell);
  },
  reverted: async (workload, tell) => {
    await workload.setHeld(workload.newImage('hanging'));
    tell('opened');
    await workload.goBack();
    tell('reverted');
  },
  bypassed: async (workload, tell) => {
    const image = workload.newImage('hanging');
    await workload.setHeld(image);
    tell('opened');
    await workload.bypass();
    tell('bypassed');
    await workload.rolledOut(image);
  },
  failed: async (workload, tell) => {
    await workload.setHeld(workload.newImage('missing'));
    tell('opened');
    await workload.toldFailed();
    tell('failed');
    const image = workload.newImage();
    await workload.setHeld(image);
    tell('superseded');
    await finish(workload, image, tell);
  },
  /** Some nodes are refused, and are tried again while the rollout goes on. */
  flaky: async (workload, tell) => {
    const image = workload.newImage('flaky');
    await workload.setHeld(image, { [MIN_NODES_ANNOTATION]: '1' });
    tell('opened');
    await finish(workload, image, tell, 1);
    await workload.setHeld(workload.newImage('hanging'), { [MIN_NODES_ANNOTATION]: '100%' });
    tell('opened');
    await workload.goBack();
    tell('reverted');
  },
  deleted: async (workload, tell) => {
    await workload.setHeld(workload.newImage('hanging'));
    tell('opened');
    await workload.remove();
    tell('deleted');
    await workload.deploy();
  },
} satisfies Record<string, Story>;

async function finish(
  workload: Workload,
  image: string,
  tell: (what: Outcome) => void,
  leastNodes?: number,
): Promise<void> {
  await workload.released(image, leastNodes);
  tell('released');
  await workload.rolledOut(image);
}

/** One after the other, over and over: most rollouts are as they should be. */
export const ORDER = [
  STORIES.released,
  STORIES.superseded,
  STORIES.released,
  STORIES.failed,
  STORIES.reverted,
  STORIES.released,
  STORIES.deleted,
  STORIES.released,
  STORIES.bypassed,
  STORIES.flaky,
] as const;
