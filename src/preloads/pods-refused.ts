import { goBack } from '../api/commands.ts';
import type { Deployment } from '../api/deployment.ts';
import { ownHold } from '../api/hold.ts';
import { noteEnding } from '../cluster/event-note.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference, preloadReference } from '../cluster/object-reference.ts';
import { elide } from '../text.ts';

/** Room for the words of a webhook or a policy, so that what follows them is not cut. */
const WORDS_CHARACTERS = 500;
const GO_BACK_ROOM = 300;

/** The Event for pods that the API server will probably refuse, once for each hold. Only its dry run as the gate's account is certain. */
export function podsRefusedEvent(deployment: Deployment, preload: string, words: string): GateEvent {
  const hold = ownHold(deployment);
  const back = hold && goBack(deployment, hold, deployment.template, GO_BACK_ROOM);
  return {
    type: 'Warning',
    reason: 'PodsMayBeRefused',
    action: 'DryRun',
    regarding: deploymentReference(deployment),
    related: preloadReference(deployment, preload),
    note: noteEnding(
      `a dry run as Pullgate's account was refused: ${elide(words, WORDS_CHARACTERS)}; a pod of the running version is not refused, so ` +
        'the rollout may create no pods; the running pods are unchanged and the images are preloaded',
      back && `go back: ${back}`,
    ),
    dedupKey: `${preload} ${hold?.since ?? ''}`,
  };
}
