/** What the demo measured. Times in seconds. */
export interface Results {
  readonly nodes: readonly string[];
  readonly megabytes: number;
  readonly ungated: Upgrade;
  readonly gated: Upgrade;
  readonly missing: { readonly ungated: MissingTag; readonly gated: MissingTag };
}

/** Both Deployments of one namespace, set to the same new image. */
export interface Upgrade {
  readonly critical: DeploymentUpgrade;
  readonly web: DeploymentUpgrade;
  readonly pulls: readonly Pull[];
}

export interface DeploymentUpgrade {
  readonly withoutReadyPod: number;
  /** Absent if the update was not held. */
  readonly held?: number;
  /** From the update, or from its release if it was held, until the rollout was complete. */
  readonly rollout: number;
  readonly starts: readonly PodStart[];
}

/** A new pod, from its creation until its container was seen running. */
export interface PodStart {
  readonly pod: string;
  readonly seconds: number;
}

/** What a kubelet says of a pull of its own, for one pod. */
export interface Pull {
  readonly pod: string;
  readonly node: string;
  readonly seconds: number;
  /** With the time in the kubelet's queue, where the kubelet reports both; otherwise the same. */
  readonly secondsWithWaiting: number;
}

/** The single replica, set to a tag that no registry has, and set back after a while. */
export interface MissingTag {
  /** Until it was set back; for the gated one, until its rollout was complete again. */
  readonly withoutReadyPod: number;
  /** Just before it was set back. */
  readonly readyPods: number;
  readonly rolloutStatus: {
    readonly exitCode: number;
    /** Since the update. */
    readonly seconds: number;
    readonly lastLine: string;
  };
  /** The note of an event about the Deployment that holds the registry's answer. */
  readonly registryMessage?: string;
}
