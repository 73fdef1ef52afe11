import type { Deployment } from '../api/deployment.ts';
import type { NextStep } from './next-step.ts';

/**
 * The strategic merge patch for `deployments/status` that makes a waiting `kubectl rollout status` exit 1 at once,
 * or wait again. The Deployment controller leaves a timed-out condition alone while the Deployment is paused. Refused (409) if
 * the Deployment has changed since it was read: a rollout that was let go meanwhile has not failed.
 */
export function progressCondition(
  { resourceVersion }: Deployment,
  step: NextStep & { step: 'fail' | 'recover' },
  now: number,
): unknown {
  const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
  const condition =
    step.step === 'fail'
      ? { status: 'False', reason: 'ProgressDeadlineExceeded', message: step.message }
      : { status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' };
  const entry = { type: 'Progressing', ...condition, lastUpdateTime: time, lastTransitionTime: time };
  return { metadata: { resourceVersion }, status: { conditions: [entry] } };
}
