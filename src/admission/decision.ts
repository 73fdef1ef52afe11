import type { RecordedDecision } from '../api/decision-record.ts';
import type { Hold, RunningTemplate } from '../api/hold.ts';
import type { PullRules } from '../api/images-to-pull.ts';
import type { Mode } from '../api/names.ts';
import type { PreloadProgress } from '../api/preload-progress.ts';
import type { RunningLookup } from '../api/running-lookup.ts';
import type { JsonObject } from '../json.ts';
import type { Denial } from './denial.ts';

/** All that a decision knows. */
export interface DecideInput {
  /** Of the namespace, by the path that was called. */
  readonly mode: Mode;
  /** In mode reject, once it has been looked up; see `Decision.asks`. */
  readonly progress?: PreloadProgress;
  /** The running template, once it has been looked up for an update that `goesBack`. */
  readonly running?: RunningLookup | undefined;
  readonly oldObject: JsonObject;
  readonly object: JsonObject;
  /** As the API server authenticated it. */
  readonly username: string;
  /** The gate's own user name: its writes, the release above all, pass. */
  readonly gateUsername: string;
  /** Namespaces that are never gated, whatever their labels say. */
  readonly exemptNamespaces: readonly string[];
  /**
   * Whether this user may end or avoid a hold: by bypass, by `off`, or by an update that exceeds a bound. Ask the API server
   * if `endsGating` says so, or if the decision without it is `Refused`.
   */
  readonly mayBypass: boolean;
  /** Whether this user may approve a rollout. Ask the API server if `asksForApproval` says so. */
  readonly mayApprove: boolean;
  readonly rules?: PullRules | undefined;
  readonly dryRun: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The preload that an update in mode reject waits for. */
export interface Ask {
  /** Its name. */
  readonly preload: string;
  readonly from: RunningTemplate;
  /** The update, with the settings that count for it. */
  readonly object: JsonObject;
}

/** The decisions that the record on a Deployment does not name, each with what happens to the update. */
export const OTHER_DECISIONS = {
  Reheld: 'The update touches a held Deployment, which stays held.',
  Rejected: 'The update is denied in mode `reject` until the images are on the nodes.',
  Refused:
    'The update is denied because this user may not bypass: the update opts the Deployment out, or exceeds a [limit](../security.md#limits). Or the running template to go back to was not found.',
  Unchanged: 'The update changes nothing that concerns a rollout.',
  Ignored:
    "Pullgate does not decide on this update: it is Pullgate's own, in an exempt namespace, or of an object that is being deleted.",
} as const;

/**
 * What becomes of the annotation of an approval.
 * - `Approved`: it counts.
 * - `OtherTemplate`: it names another pod template than the held one.
 * - `NotAllowed`: this user may not approve.
 * - `NotNew`: the update does not set it, and the hold has no approval. It is removed, so that it can be set.
 * - `StillApproved`: the update changes or removes it, and the approval counts all the same.
 */
export type ApprovalKind = 'Approved' | 'OtherTemplate' | 'NotAllowed' | 'NotNew' | 'StillApproved';

export type DecisionKind = RecordedDecision | keyof typeof OTHER_DECISIONS;

export interface Decision {
  readonly kind: DecisionKind;
  /** The object as it is to be stored; the very object of the input where nothing is to be changed. */
  readonly object: JsonObject;
  /** In words, for logs, audit and `decided`. */
  readonly reason: string;
  /** The hold on `object`. */
  readonly hold?: Hold;
  /** Images that the template waits for, or should have waited for. */
  readonly images: readonly string[];
  /** Why the update is denied; absent if it is let through. */
  readonly denial?: Denial;
  /** What to look up, and to see to: then decide again, with `progress`. */
  readonly asks?: Ask;
  /** What became of an approval that the update asks for; absent if it asks for none. */
  readonly approval?: ApprovalKind | undefined;
  /** A bypass that was asked for and not granted. */
  readonly bypassRefused: boolean;
  /** The user asked for `paused: false` while the hold needs it true. */
  readonly resumeAsked: boolean;
  /** Annotations of another time that the update brought, and that count for nothing: see `Origin`. */
  readonly ignored: readonly string[];
}
