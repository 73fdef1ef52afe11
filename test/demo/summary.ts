import type { Results } from './results.ts';
import { seconds } from './table.ts';

/** What happened, why it was faster, and what to do next, for someone who sees nothing else. */
export function summary({ ungated, gated, missing, nodes }: Results): string[] {
  const slowest = Math.max(...gated.pulls.map((pull) => pull.seconds));
  const [before, after] = [ungated, gated].map(({ critical }) => seconds(critical.withoutReadyPod));
  const down = seconds(missing.ungated.withoutReadyPod);
  return [
    'What happened',
    `  Ungated, the old pod was stopped, and only then was the image of the new one pulled: ${before} without a ready`,
    `  pod. Gated, the update was held for ${seconds(gated.critical.held ?? 0)} while the ${nodes.length} nodes pulled and the old pod served; the`,
    `  rollout came after, with ${after} without a ready pod: the old pod's end (for which this kubelet may take 10 s`,
    '  by itself) and the start of the new one.',
    `  The tag that does not exist took the ungated replica down: ${down}, and it would still be. Gated it never`,
    `  got as far as a pod, and kubectl rollout status failed after ${seconds(missing.gated.rolloutStatus.seconds)}; the events have the registry's words.`,
    '',
    'Why it was faster',
    `  It was not the pull: the slowest took ${seconds(slowest)} gated, too. But it came before the rollout instead of in it, on`,
    '  all nodes at once, so that every new pod found its image and started at once.',
    '',
    'What to do next',
    '  Gate a namespace of your own, then upgrade as always:  kubectl label namespace NAME pullgate.io/mode=pause',
    '  What is held, anywhere:                                kubectl get deploy -A -l pullgate.io/held',
    '  How far the preloads are, and why one is not ready:    kubectl get ipl -A; kubectl describe ipl NAME',
    '  In a hurry, or the wrong image? The warning of each held update has the two commands, ready to paste.',
  ];
}
