type EventType = 'Normal' | 'Warning';

interface EventRow {
  /** The types that the Event can have, the usual one first. */
  readonly types: readonly EventType[];
  /** When Pullgate emits the Event. */
  readonly when: string;
  /** What the reader should do. */
  readonly remedy: string;
}

/**
 * Every Event that Pullgate emits. `npm run docs` writes docs/reference/events.md from this table. An Event is about the Deployment
 * unless its row names another object.
 */
export const EVENT_REASONS = {
  RolloutHeld: {
    types: ['Normal'],
    when: 'An update is stored and held until the nodes have its images. Also: a hold of mode `pause` continues, although the namespace is now in mode `reject`.',
    remedy: 'Nothing. The Event has the commands to release the rollout now and to go back.',
  },
  RolloutRejected: {
    types: ['Normal'],
    when: 'Mode `reject` denied an update, because nodes do not have its images yet.',
    remedy: 'Run the command again if the client has stopped retrying.',
  },
  RolloutAudited: {
    types: ['Normal'],
    when: 'An update went ahead in mode `audit`. Mode `pause` would have held it. The Event says how many nodes lack an image.',
    remedy: 'Nothing.',
  },
  PreloadStarted: {
    types: ['Normal'],
    when: 'The nodes start to pull the images. The Event says how many nodes.',
    remedy: 'Nothing.',
  },
  WaitingForNodes: {
    types: ['Warning'],
    when: 'No node is eligible, so the rollout waits for one. The Event says until when, and which nodes are [excluded](failures.md#excluded-nodes).',
    remedy: 'Look at these nodes. If the node pool scales from zero, wait: the rollout starts at that time.',
  },
  PreloadNodeFailed: {
    types: ['Warning'],
    when: 'A node cannot pull an image. The first 10 failing nodes of a preload have an Event each. If a node "no longer counts", the release does not wait for it.',
    remedy: 'Look at that node if other nodes are fine. Otherwise see the [reason](failures.md).',
  },
  PreloadFailed: {
    types: ['Warning'],
    when: 'The update stays held and `kubectl rollout status` fails. Either every node that was asked to pull the image gave a [final answer](failures.md), or the deadline has passed with no node ready, or Pullgate cannot create the ImagePreload. In the last case a quota, a policy or a missing right refuses it, a webhook does not answer, or an old ImagePreload of that name cannot be deleted because of its finalizers or a missing right.',
    remedy:
      'Push the image, fix the pull secret or the quota, remove the finalizers, or go back. Pullgate retries automatically: the registry after 30 s, then less often, at least every 5 minutes.',
  },
  PreloadReady: {
    types: ['Normal'],
    when: 'As many nodes as required have the images.',
    remedy: 'Nothing.',
  },
  WaitingForApproval: {
    types: ['Normal'],
    when: 'The images are on the nodes, and the rollout [waits for an approval](../use.md#approve-a-rollout).',
    remedy: 'Approve the rollout with the command in the Event, or go back.',
  },
  WaitingForTime: {
    types: ['Normal'],
    when: 'The images are on the nodes, and the rollout waits for the time in the annotation `pullgate.io/not-before`.',
    remedy: 'Nothing. To start the rollout earlier, change or remove the annotation.',
  },
  RolloutApproved: {
    types: ['Normal'],
    when: 'A user approved a held rollout. The Event has the user.',
    remedy: 'Nothing. The rollout starts when its images are on the nodes.',
  },
  PodsMayBeRefused: {
    types: ['Warning'],
    when: "A webhook, a policy or the Pod Security level refused a pod of the new version in a dry run, and admitted a pod of the running version. The hold continues. Pullgate makes the dry run with its own account, so a policy about accounts may treat the Deployment's pods differently.",
    remedy: 'Change the pod template or the policy before the release, or go back.',
  },
  ImageDiverged: {
    types: ['Warning'],
    when: 'Nodes have different images for the same tag, because the tag was moved during the preload.',
    remedy: 'Set a digest, or restart the rollout.',
  },
  RolloutReleased: {
    types: ['Normal', 'Warning'],
    when: 'The hold has ended. The Event gives the reason: `Ready`, `Reverted`, `OptedOut`, `DeadlineExceeded`, `NoEligibleNodes`, `NotPreloadable`, `LimitExceeded`, `NothingServes` (no pod of the Deployment is ready, and one node has the images) or `ScaledToZero` (no pod is wanted). Also: mode `reject` let an update through, Pullgate removed a copied or unreadable hold, or Pullgate was stopped or uninstalled. The type is Warning if the images are not on all required nodes.',
    remedy:
      'If the Event says that the Deployment stays paused, resume it when you want the rollout to start.',
  },
  ReleaseFailed: {
    types: ['Warning'],
    when: 'The hold should end, for the reason in brackets, but the API server refused the update: a policy, a webhook that refuses or does not answer, or a missing right. The Deployment stays paused. Pullgate retries automatically, at least every 30 s.',
    remedy:
      "Exempt Pullgate's account from what refuses the update, or wait, for example until a change freeze ends. The bypass command in the Event runs under your own account, which the policy may allow.",
  },
  HoldSuperseded: {
    types: ['Normal'],
    when: 'Another pod template was stored during the hold. Its preload has started.',
    remedy: 'Nothing.',
  },
  HoldReverted: {
    types: ['Normal', 'Warning'],
    when: 'The hold ended, and the held version does not roll out. Either the running pod template was restored, or another template that needs no new image was stored and its rollout starts at once. The type is Warning if Pullgate was stopped or uninstalled, and the image of the held version is known to be unavailable or its rollout waited for an approval or a time.',
    remedy: 'Nothing. After a Warning, apply the new version again when its image is available.',
  },
  HoldBypassed: {
    types: ['Warning'],
    when: 'A user released the update without waiting. The Event has the user and the reason.',
    remedy: 'Ask the user why.',
  },
  GateOptedOut: {
    types: ['Warning'],
    when: 'A user set the label `pullgate.io/mode=off` on the Deployment.',
    remedy: 'Ask the user why. Remove the label to opt in again.',
  },
  HoldDeadlineExceeded: {
    types: ['Warning'],
    when: 'The rollout was released at the deadline with some nodes ready. The other nodes pull when a pod starts there.',
    remedy: 'Find out what delays these nodes. [Settings](settings.md): `--deadline-seconds`, `--min-nodes`.',
  },
  NoEligibleNodes: {
    types: ['Warning', 'Normal'],
    when: 'The rollout was released because no node could take its pods for [some time](../operate.md#excluded-nodes). The type is Normal if no node could ever be preloaded.',
    remedy:
      'Nothing if the node pool scales from zero. Otherwise see the [excluded nodes](failures.md#excluded-nodes) in `kubectl describe ipl`.',
  },
  NotPreloadable: {
    types: ['Warning'],
    when: 'The runtime class of the pods ignores the command of a container, so a [puller pod would run the image](../security.md#why-a-puller-pod-cannot-run-the-image). Pullgate preloads nothing, and the rollout starts.',
    remedy: 'Nothing, or use another runtime class.',
  },
  NotServed: {
    types: ['Warning'],
    when: 'On an ImagePreload: its namespace has no mode, so Pullgate preloads nothing.',
    remedy: 'Set a mode: `kubectl label namespace shop pullgate.io/mode=audit`.',
  },
  UngatedRollout: {
    types: ['Warning'],
    when: 'A rollout started while the Pullgate webhook was unavailable, or a user resumed a held Deployment while no replica ran. The rollout continues.',
    remedy: 'Find out why Pullgate was unavailable.',
  },
  LimitExceeded: {
    types: ['Warning'],
    when: 'The Deployment asks for more images, node affinity or tolerations than Pullgate [supports](../security.md#limits). Pullgate does not hold it or releases its hold, and nodes pull when a pod starts there. On an ImagePreload: Pullgate preloads nothing.',
    remedy: 'Ask for less. The Event says what exceeds which limit.',
  },
  InvalidMode: {
    types: ['Warning'],
    when: 'On a Namespace: the value of its label `pullgate.io/mode` is not a mode, so Pullgate holds nothing there.',
    remedy: 'Set `pause`, `reject` or `audit`.',
  },
  InvalidApproval: {
    types: ['Warning'],
    when: 'On a Namespace: its label `pullgate.io/approval` does nothing, because its value is not `required`, or because the namespace is not in mode `pause` or `reject`.',
    remedy: 'Set the label to `required`, and a mode.',
  },
  InvalidSetting: {
    types: ['Warning'],
    when: "The value of an annotation is invalid, or looser than the flag while `--bypass-needs-permission` is set. Pullgate uses the flag's value. With an invalid `pullgate.io/not-before`, a held rollout waits.",
    remedy: 'Correct the annotation: see [settings](settings.md).',
  },
} as const satisfies Record<string, EventRow>;

export type EventReason = keyof typeof EVENT_REASONS;

/** A reason, and a type that an Event of this reason can have. */
export type EventKind = {
  readonly [Reason in EventReason]: {
    readonly reason: Reason;
    readonly type: (typeof EVENT_REASONS)[Reason]['types'][number];
  };
}[EventReason];
