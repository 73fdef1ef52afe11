import { UNCOUNTED_REASONS } from '../../src/preloads/assess/outcome.ts';
import { EXCLUSION_REASONS } from '../../src/preloads/nodes/eligible-nodes.ts';
import { PULL_FAILURES } from '../../src/preloads/pods/failure-reasons.ts';
import { code, type Page, sentence, table } from './markdown.ts';

export function failuresPage(): Page {
  return {
    title: 'Failures',
    purpose: 'Find why the pull of an image fails on a node, or why a release does not wait for a node.',
    sources: [
      'src/preloads/pods/failure-reasons.ts',
      'src/preloads/assess/outcome.ts',
      'src/preloads/nodes/eligible-nodes.ts',
    ],
    body: [
      'The reason is in the column REASON of `kubectl get ipl`, in brackets in an Event, in the status of an ImagePreload, and in the label `reason` of `pullgate_node_pull_failures_total`. See [operation](../operate.md#failures) for when pulls are retried and when a preload fails.',
      '## Failed pulls',
      'Final means that the answer is about the image or its pull secret, so another node would most likely get the same answer. `NotFound` is final when the registry gives the same answer after 5 s, and reasons about a pull secret are final when the kubelet gives the same answer after 2 s.',
      table(
        ['Reason', 'Final', 'Meaning', 'What to do'],
        Object.entries(PULL_FAILURES).map(([reason, { definitive, means, remedy }]) => [
          code(reason),
          definitive ? 'yes' : 'no',
          means,
          sentence(remedy),
        ]),
      ),
      '## Nodes that no longer count',
      'Pullgate keeps pulling on these nodes, and a release does not wait for them.',
      table(['Reason', 'Meaning'], rows(UNCOUNTED_REASONS)),
      '## Excluded nodes',
      'The pods of the Deployment cannot run on these nodes. A node is counted once in `status.excluded`, for the first of these reasons that applies. See [operation](../operate.md#excluded-nodes) for how long a rollout is held if no node is eligible.',
      table(['Reason', 'Meaning'], rows(EXCLUSION_REASONS)),
    ],
  };
}

export function rows(meanings: Readonly<Record<string, string>>): string[][] {
  return Object.entries(meanings).map(([name, meaning]) => [code(name), meaning]);
}
