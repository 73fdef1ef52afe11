import type { MissingTag, Results, Upgrade } from './results.ts';
import { seconds } from './table.ts';

const START_LIMIT = 5;
/** On top of the slowest kubelet's own pull. */
const HOLD_LIMIT = 2;
const ROLLOUT_STATUS_LIMIT = 15;

/** The promises that did not hold, each with the numbers that broke it. None: the demo has shown what it is to show. */
export function brokenPromises(results: Results): string[] {
  return [
    ...ungatedIsDown(results.ungated),
    ...startsAtOnce(results.gated),
    ...holdsNoLongerThanNeeded(results),
    ...missingUngated(results.missing.ungated),
    ...missingGated(results.missing.gated),
  ];
}

/** Without this there is nothing to compare with. */
function ungatedIsDown({ critical, pulls }: Upgrade): string[] {
  const own = critical.starts.map(({ pod }) => pulls.find((pull) => pull.pod === pod)).find(Boolean);
  if (own === undefined) return ['(a) the ungated single replica started without a pull of its own'];
  const { withoutReadyPod } = critical;
  if (withoutReadyPod >= own.secondsWithWaiting) return [];
  const down = `had no ready pod for ${seconds(withoutReadyPod)}`;
  return [
    `(a) the ungated single replica ${down}, less than its pull took (${seconds(own.secondsWithWaiting)})`,
  ];
}

function startsAtOnce({ critical, web }: Upgrade): string[] {
  const started = { critical, web };
  return Object.entries(started).flatMap(([name, { starts }]) => {
    if (starts.length === 0) return [`(b) no new pod of ${name} was seen`];
    return starts
      .filter((start) => start.seconds > START_LIMIT)
      .map(
        (start) =>
          `(b) the gated pod ${start.pod} started ${seconds(start.seconds)} after its creation, more than ${START_LIMIT} s`,
      );
  });
}

function holdsNoLongerThanNeeded({ gated, nodes }: Results): string[] {
  const silent = nodes.filter((node) => !gated.pulls.some((pull) => pull.node === node));
  if (silent.length > 0) return [`(b) no kubelet's word of a pull on ${silent.join(', ')}`];
  const slowest = Math.max(...gated.pulls.map((pull) => pull.seconds));
  return Object.entries({ critical: gated.critical, web: gated.web }).flatMap(([name, { held }]) => {
    if (held === undefined) return [`(b) the update of ${name} was not held`];
    if (held <= slowest + HOLD_LIMIT) return [];
    const than = `more than ${HOLD_LIMIT} s longer than the slowest kubelet's own pull (${seconds(slowest)})`;
    return [`(b) ${name} was held for ${seconds(held)}, ${than}`];
  });
}

function missingUngated({ readyPods }: MissingTag): string[] {
  return readyPods === 0 ? [] : ['(c) the ungated single replica did not stay down'];
}

function missingGated({ withoutReadyPod, rolloutStatus, registryMessage }: MissingTag): string[] {
  const broken: string[] = [];
  if (withoutReadyPod > 0) {
    broken.push(`(c) the gated single replica had no ready pod for ${seconds(withoutReadyPod)}`);
  }
  if (registryMessage === undefined) broken.push("(c) no event of the Deployment holds the registry's words");
  if (rolloutStatus.exitCode === 0) {
    broken.push('(c) kubectl rollout status did not fail');
  } else if (rolloutStatus.seconds > ROLLOUT_STATUS_LIMIT) {
    const after = `${seconds(rolloutStatus.seconds)} after the update`;
    broken.push(`(c) kubectl rollout status failed only ${after}, more than ${ROLLOUT_STATUS_LIMIT} s`);
  }
  return broken;
}
