import type { JsonObject } from '../../../src/json.ts';
import type { Arrival } from '../../cluster/lab/image-arrivals.ts';

/** All times are milliseconds since the epoch: those of the test, of the nodes' containerd and of the gate, on one machine. */
export type Kind = 'Deployment' | 'Node';

/** One change of one object, when it was heard of. */
export interface Seen {
  readonly at: number;
  readonly kind: Kind;
  readonly name: string;
  /** Undefined: it is gone. */
  readonly object: JsonObject | undefined;
}

/** A hold that was open when the fault began. */
export interface OpenHold {
  readonly deployment: string;
  readonly image: string;
  /** The user had paused it before, and wants it so. */
  readonly userPaused: boolean;
}

/** An Event that says that a Deployment was released. */
export interface ReleaseTold {
  readonly deployment: string;
  readonly at: number;
}

/** What happened around one fault, each list in order. */
export interface History {
  readonly seen: readonly Seen[];
  readonly arrivals: readonly Arrival[];
  readonly holds: readonly OpenHold[];
  readonly releasesTold: readonly ReleaseTold[];
  /** In the end: the Deployments of which an ImagePreload tells why it cannot go on. */
  readonly failing: readonly string[];
}
