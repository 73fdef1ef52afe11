import { asString } from '../../../src/json.ts';
import { followContainerd } from './containerd-events.ts';
import type { Lab } from './lab.ts';

/** A node's containerd has the whole image. */
export interface Arrival {
  /** In milliseconds since the epoch. */
  readonly at: number;
  readonly node: string;
  readonly image: string;
}

/** What the containerd of each node says that it has, from the moment that it is followed. */
export interface ImageArrivals {
  readonly arrivals: readonly Arrival[];
  follow(node: string): void;
  stop(): void;
}

export function imageArrivals(lab: Lab): ImageArrivals {
  const arrivals: Arrival[] = [];
  const following: (() => void)[] = [];
  return {
    arrivals,
    follow(node) {
      const stop = followContainerd(lab, node, ({ at, topic, event }) => {
        const image = asString(event['name']);
        // containerd names an image once all of it is there.
        if (topic === '/images/create' && image !== undefined) arrivals.push({ at, node, image });
      });
      following.push(stop);
    },
    stop() {
      for (const end of following.splice(0)) end();
    },
  };
}
