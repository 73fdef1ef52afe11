import type { Deployment } from '../api/deployment.ts';
import type { Hold } from '../api/hold.ts';
import { awaitedPreload } from '../api/preload-name.ts';
import { knownFailure } from '../api/rollout.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference, preloadReference } from '../cluster/object-reference.ts';

/** The Event for a hold that ends because Pullgate is stopped or uninstalled. */
export function endedEvent(
  deployment: Deployment,
  hold: Hold,
  end: 'release' | 'revert',
  now: number,
): GateEvent {
  const failure = knownFailure(deployment);
  const unavailable =
    failure === undefined ? '' : `; the image of the held version is known to be unavailable: ${failure}`;
  const seconds = Math.max(0, Math.round((now - Date.parse(hold.since)) / 1000));
  const reverted = `Pullgate stops, so the running pod template was restored after ${seconds} s${unavailable}`;
  return {
    type: 'Warning',
    reason: end === 'revert' ? 'HoldReverted' : 'RolloutReleased',
    action: 'Uninstall',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, awaitedPreload(deployment, hold)),
    note:
      end === 'revert'
        ? noteEnding(reverted, 'apply the new version again when its image is available')
        : `Pullgate stops, so the rollout was released after ${seconds} s${unavailable}`,
    dedupKey: `${hold.template} ${hold.since}`,
  };
}
