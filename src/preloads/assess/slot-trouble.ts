import type { Failure } from '../pods/pull-failure.ts';
import { initTrouble } from '../pods/pull-result.ts';
import type { PullerPod } from '../pods/puller-pod-status.ts';
import type { PullTimes } from './pull-times.ts';
import type { FailedSlot } from './refusals.ts';

interface Input {
  troubleOf(pod: PullerPod): Failure | undefined;
  readonly times: PullTimes;
  readonly now: number;
}

/** Only an event of the pod says that the kubelet cannot find a pull secret. */
export function withMissingSecret({ failure, pod }: FailedSlot, input: Pick<Input, 'troubleOf'>): Failure {
  const trouble = failure.reason === 'Unauthorized' ? input.troubleOf(pod) : undefined;
  if (trouble?.reason !== 'PullSecretMissing') return failure;
  return { ...failure, reason: trouble.reason, message: `${trouble.message} ${failure.message}` };
}

/** The pod itself shows trouble of an injected init container. Its events show other trouble. */
export function troubleOf(pod: PullerPod, since: number, input: Input): Failure | undefined {
  const isLate = input.now >= since + input.times.creatingMs;
  if (pod.init !== undefined && (pod.init.failing || isLate)) return initTrouble(pod.init);
  return input.troubleOf(pod);
}
