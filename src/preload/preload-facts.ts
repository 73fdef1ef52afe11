import type { GateEvent, ObjectRef } from '../cluster/events.ts';
import { API_VERSION, IMAGE_PRELOAD_KIND } from '../names.ts';
import type { Assessment } from './assess.ts';
import { wordsAboutDivergence } from './image-divergence.ts';
import type { ImagePreload } from './image-preload.ts';
import { wordsAbout } from './pull-failure.ts';

/** Each failing node is a fact; on a large cluster the first ones say it all. */
const NODE_FACTS = 10;

/** The Events that this state of a preload is worth. Said again each time: the writer knows a fact it has written. */
export function preloadFacts(preload: ImagePreload, assessment: Assessment): GateEvent[] {
  const { verdict, desired, ready, failures } = assessment;
  const images = preload.spec.images.map(({ image }) => image).join(', ');
  const itself = reference(preload);
  const about = preload.owner === undefined ? itself : ownerReference(preload, preload.owner);
  const fact = (event: Pick<GateEvent, 'type' | 'reason' | 'note' | 'fact'>): GateEvent => ({
    ...event,
    action: 'Preload',
    regarding: about,
    related: itself,
  });
  const nodeFailed = failures
    .filter(({ reason }) => reason !== 'Unknown')
    .slice(0, NODE_FACTS)
    .map(({ node, image, reason, message, left }) =>
      fact({
        type: 'Warning',
        reason: 'PreloadNodeFailed',
        note: `${node}: ${wordsAbout(image, message)} (${left ?? reason})${left === undefined ? '' : '; this node no longer counts'}`,
        fact: `${preload.uid} ${node} ${image} ${left ?? reason}`,
      }),
    );
  const facts: GateEvent[] = [];
  if (desired > 0) {
    const note = `preloading ${images} on ${desired} node${desired === 1 ? '' : 's'}`;
    facts.push(fact({ type: 'Normal', reason: 'PreloadStarted', note, fact: preload.uid }));
  }
  facts.push(...nodeFailed);
  facts.push(
    ...assessment.images.flatMap(({ image, digestNodes }) => {
      if (digestNodes === undefined) return [];
      const note = `${wordsAboutDivergence(image, digestNodes)}. The tag has been moved: the pods will not all run the same`;
      const digests = digestNodes.map(({ digest }) => digest).toSorted();
      return fact({
        type: 'Warning',
        reason: 'ImageDiverged',
        note,
        fact: `${preload.uid} ${image} ${digests.join(' ')}`,
      });
    }),
  );
  if (verdict.kind === 'Failed') {
    const note =
      `${wordsAbout(verdict.image, verdict.message)} (${verdict.reason} on ${verdict.node}); what runs goes on running. ` +
      'It is tried again by itself: push the image or mend the secret, or set the image back';
    // Without the words: they may name another node or request each time.
    const { image, reason } = verdict;
    facts.push(
      fact({ type: 'Warning', reason: 'PreloadFailed', note, fact: `${preload.uid} ${image} ${reason}` }),
    );
  }
  if (verdict.kind === 'Ready') {
    const note = `${ready} of ${desired} nodes have ${images}`;
    facts.push(fact({ type: 'Normal', reason: 'PreloadReady', note, fact: preload.uid }));
  }
  return facts;
}

function reference({ namespace, name, uid }: ImagePreload): ObjectRef {
  return { apiVersion: API_VERSION, kind: IMAGE_PRELOAD_KIND, namespace, name, uid };
}

function ownerReference({ namespace }: ImagePreload, owner: NonNullable<ImagePreload['owner']>): ObjectRef {
  return { apiVersion: 'apps/v1', namespace, ...owner };
}
