import type { PullFailureReason } from './failure-reasons.ts';
import { classifyPullFailure, registryMessage } from './pull-failure.ts';
import type { BlockingInit, PullContainer, PullerPod } from './puller-pod-status.ts';

export type PullOutcome =
  /** The kubelet has not reported the container yet. */
  | { readonly state: 'starting' }
  /** The kubelet is at it. A sandbox that cannot be made looks the same: only the pod's events tell. */
  | { readonly state: 'pulling' }
  | PullSucceeded
  | PullFailed;

interface PullSucceeded {
  readonly state: 'succeeded';
  /** As the runtime names it; empty where the container was never created. */
  readonly imageID: string;
  /** Milliseconds. Absent where the kubelet does not say. */
  readonly finishedAt?: number;
}

interface PullFailed {
  readonly state: 'failed';
  readonly reason: PullFailureReason;
  readonly definitive: boolean;
  /** See `registryMessage`. */
  readonly message: string;
}

/** Reasons to wait that the kubelet can only have once it has the image (kuberuntime_container.go, sync_result.go). */
const PAST_THE_PULL: ReadonlySet<string> = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'PreCreateHookError',
  'PreStartHookError',
  'PostStartHookError',
  'CrashLoopBackOff',
]);

/** Reasons to wait before the pull, or for an injected init container. Everything else is a pull that failed. */
const BEFORE_THE_PULL: ReadonlySet<string> = new Set(['', 'ContainerCreating', 'PodInitializing']);

/** How a container ends whose process could not be started: it was made from the image (containerd and CRI-O, Docker). */
const NOT_STARTED: ReadonlySet<string> = new Set(['StartError', 'ContainerCannotRun']);

const outcomes = new WeakMap<PullerPod, PullOutcome>();

/**
 * How far the pull is, judged by our container alone: an injected sidecar may keep the pod running for ever. The pod's
 * phase counts only where our container cannot tell. Read out of the texts once for each version of a pod.
 */
export function pullOutcome(pod: PullerPod): PullOutcome {
  const known = outcomes.get(pod);
  if (known !== undefined) return known;
  const outcome = judge(pod);
  outcomes.set(pod, outcome);
  return outcome;
}

function judge(pod: PullerPod): PullOutcome {
  const { container } = pod;
  if (container !== undefined && hasImage(container)) return succeeded(container);
  if (container?.waiting !== undefined && !BEFORE_THE_PULL.has(container.waiting.reason)) {
    const { reason, message } = container.waiting;
    return {
      state: 'failed',
      ...classifyPullFailure(reason, message),
      message: registryMessage(message || reason),
    };
  }
  if (pod.init?.ended === true) return { state: 'failed', ...initTrouble(pod.init) };
  if (pod.phase === 'Failed' || pod.phase === 'Succeeded') return rejected(pod);
  if (container?.terminated !== undefined) return rejected(container.terminated);
  return { state: container === undefined ? 'starting' : 'pulling' };
}

function hasImage({ imageID, running, waiting, terminated }: PullContainer): boolean {
  return (
    imageID !== '' ||
    running ||
    PAST_THE_PULL.has(waiting?.reason ?? '') ||
    NOT_STARTED.has(terminated?.reason ?? '')
  );
}

function succeeded({ imageID, terminated }: PullContainer): PullSucceeded {
  const finishedAt = terminated?.finishedAt;
  return { state: 'succeeded', imageID, ...(finishedAt !== undefined && { finishedAt }) };
}

/** The reasons of a pod that the API server has not made: it refused the pod, or could not answer. */
export const POD_REJECTED = 'PodRejected';
export const POD_NOT_CREATED = 'PodNotCreated';
export type PodRefusal = typeof POD_REJECTED | typeof POD_NOT_CREATED;

/** The reason of a pod that the gate has deleted, as its pull took too long. */
export const PULL_TIMED_OUT = 'PullTimedOut';

/**
 * Why a kubelet rejects a pod, where it would reject the next one as well: what the API server has made of the pod, and what the node
 * is (pkg/kubelet: lifecycle/predicate.go and handlers.go, sysctl/allowlist.go).
 */
const REFUSED: ReadonlySet<string> = new Set([
  'NodeAffinity',
  'PodOSNotSupported',
  'PodOSSelectorNodeLabelDoesNotMatch',
  'SysctlForbidden',
  'AppArmor',
  'SupplementalGroupsPolicyNotSupported',
  'InitContainerRestartPolicyForbidden',
  'PodLevelResourcesNotSupported',
  'PodFeatureUnsupported',
]);

/** OutOfpods, Evicted, NodeAffinity, ...: about this pod on this node, never about the image. */
function rejected({ reason, message }: { reason: string; message: string }): PullFailed {
  if (reason === PULL_TIMED_OUT) return { state: 'failed', reason: 'Timeout', definitive: false, message };
  if (reason === POD_NOT_CREATED)
    return { state: 'failed', reason, definitive: false, message: registryMessage(message) };
  const words = [reason, message].filter((part) => part !== '').join(': ');
  return {
    state: 'failed',
    reason: REFUSED.has(reason) ? 'NodeRefusesPod' : 'PodRejected',
    definitive: false,
    message: registryMessage(words || 'the pod ended before its image was pulled'),
  };
}

/** Why the pull has not begun: an init container that a webhook has added comes before it. */
export function initTrouble({ name, words }: BlockingInit): Omit<PullFailed, 'state'> {
  return {
    reason: 'InitContainer',
    definitive: false,
    message: registryMessage(`init container ${name}, which a webhook has added, ${words}`),
  };
}
