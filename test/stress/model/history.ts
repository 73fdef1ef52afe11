import type { Mode } from '../../../src/api/names.ts';
import type { JsonObject } from '../../../src/json.ts';
import type { Pull } from '../../cluster/simulated/kubelet.ts';
import type { Update } from './workload.ts';

/** All times are milliseconds of this process's monotonic clock. */
export type Kind = 'Deployment' | 'ReplicaSet' | 'Pod' | 'ImagePreload' | 'Node' | 'UngatedEvent';

/** One change of one object, when it was heard of. */
export interface Moment {
  readonly at: number;
  readonly kind: Kind;
  readonly name: string;
  readonly uid: string;
  /** Undefined: it is gone. */
  readonly object: JsonObject | undefined;
}

/** An update that a user asked for. */
export interface UserUpdate {
  readonly text: string;
  readonly of: string;
  readonly update: Update;
  readonly began: number;
  readonly ended: number;
  /** Of what was stored; undefined if it was refused. */
  readonly resourceVersion: string | undefined;
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

/** How the gate of a run is set. */
export interface GateTimes {
  readonly nodeTimeoutSeconds: number;
  readonly deadlineSeconds: number;
  readonly givenUpAfterMs: number;
  readonly noNodesMs: number;
}

/** Everything that happened in one namespace, each list in order. */
export interface History {
  readonly moments: readonly Moment[];
  readonly updates: readonly UserUpdate[];
  readonly modes: readonly (Span & { readonly mode: Mode | 'none' })[];
  /** When nobody may have answered for the gate. */
  readonly down: readonly Span[];
  /** Updates that passed without an answer of the gate, by the API server's audit log: the name, and when it got them. */
  readonly failedOpen: readonly { readonly of: string; readonly at: number }[];
  readonly pulls: readonly Pull[];
  /** Whether a bypass, and whatever is looser than the flags, needs a permission that the users do not have. */
  readonly needsPermission: boolean;
  readonly times: GateTimes;
}

export function overlaps(a: Span, b: Span): boolean {
  return a.from <= b.to && b.from <= a.to;
}
