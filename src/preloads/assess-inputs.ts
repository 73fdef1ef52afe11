import { type Awaited, allowedAt } from '../api/approval.ts';
import type { Deployment } from '../api/deployment.ts';
import { ownHold } from '../api/hold.ts';
import type { ImagePreload, PreloadImage } from '../api/image-preload.ts';
import type { Clock } from '../clock.ts';
import type { Store } from '../cluster/object-cache.ts';
import type { Activity } from './activity.ts';
import type { AssessInput } from './assess/assess.ts';
import { imageFilter } from './assess/image-filter.ts';
import { isListed } from './assess/judged-node.ts';
import type { PullTimes } from './assess/pull-times.ts';
import { parallelNodes } from './assess/wanted-pulls.ts';
import { eligibleNodes } from './nodes/eligible-nodes.ts';
import type { Node } from './nodes/node.ts';
import type { PodIndex } from './pods/pod-index.ts';
import type { PodTroubles } from './pods/pod-trouble.ts';
import type { Failure } from './pods/pull-failure.ts';
import { recordedFailure } from './pods/pull-failure.ts';
import type { PullerPod } from './pods/puller-pod-status.ts';
import { runsWasm, wasmMessage } from './pods/wasm.ts';
import { imageKey, type PreloadState } from './preload-state.ts';
import { noNodesSince } from './preload-status.ts';
import type { WorkloadLookups } from './workload-lookups.ts';

/** Gathers all that an assessment needs to know. */
export interface AssessInputs {
  /** Call it when a node has changed. */
  nodesChanged(): void;
  of(
    preload: ImagePreload,
    state: PreloadState,
    activity: Activity,
    owner: Deployment | undefined,
  ): Promise<AssessInput>;
}

export function createAssessInputs(options: {
  readonly clock: Pick<Clock, 'now'>;
  readonly nodes: Pick<Store<Node>, 'values'>;
  readonly pods: PodIndex;
  readonly troubles: PodTroubles;
  readonly lookups: WorkloadLookups;
  readonly pullTimes: PullTimes;
  readonly maxConcurrentPulls: number;
  /** What the hold of the Deployment waits for besides its images. */
  readonly awaitedOf: (owner: Deployment | undefined) => Awaited | undefined;
}): AssessInputs {
  const { clock, nodes, pods, troubles, lookups, pullTimes, maxConcurrentPulls } = options;
  let nodesVersion = 0;

  function eligibleFor({ spec }: ImagePreload, state: PreloadState): NonNullable<PreloadState['eligible']> {
    if (state.eligible?.version === nodesVersion) return state.eligible;
    const found = eligibleNodes(nodes.values(), spec.scheduling);
    const listed = spec.images.map(isListed);
    const listImage = found.eligible.some((node) => {
      const filter = imageFilter(node.images);
      return listed.some((is) => is(node, filter));
    });
    state.eligible = { version: nodesVersion, nodes: found, listImage };
    return state.eligible;
  }

  /** With Always, a pod of another preload counts only if it began after this one was asked for: tags move. */
  function podsOnNodes(
    preload: ImagePreload,
    state: PreloadState,
    image: PreloadImage,
  ): (node: string) => readonly PullerPod[] {
    const pull = state.pullOf.get(imageKey(image));
    if (pull === undefined) return () => [];
    const find = pods.findOf(pull);
    if (image.imagePullPolicy === 'IfNotPresent') return find;
    const isMine = (pod: PullerPod) => pod.preloadUid === preload.uid || pod.createdAt > preload.createdAt;
    return (node) => {
      const found = find(node);
      return found.every(isMine) ? found : found.filter(isMine);
    };
  }

  return {
    nodesChanged() {
      nodesVersion += 1;
    },
    async of(preload, state, activity, owner) {
      const { runtimeClassName } = preload.spec.scheduling;
      const isWasm =
        runtimeClassName !== undefined && runsWasm(runtimeClassName, await lookups.handlerOf(preload, state));
      const { nodes: found, listImage } = eligibleFor(preload, state);
      const { eligible, excluded } = found;
      // Order matters only if not all can start at once.
      const atATime = Math.min(parallelNodes(preload, eligible.length), maxConcurrentPulls);
      const ordered = atATime < eligible.length;
      const before = state.assessment?.progress.failures ?? [];
      const failures = new Map(before.map((entry) => [failureKey(entry), entry]));
      return {
        preload,
        eligible,
        excluded,
        podsOf: (image) => podsOnNodes(preload, state, image),
        knownFailure: (image, node) =>
          failures.get(failureKey({ image, node })) ?? recorded(preload, image, node),
        troubleOf: troubles.of,
        // Asked only where the answer matters: some node lists one of the images. Once nobody waits any more, what the nodes list is
        // enough: the pods that have pulled it are gone.
        withSecret:
          activity !== 'rolling' &&
          (preload.spec.imagePullSecrets.length > 0 ||
            (listImage && (await lookups.accountHasSecret(preload, state)))),
        ...(isWasm && { notPreloadable: wasmMessage(runtimeClassName) }),
        beginAt: ordered ? state.beginAt : 0,
        preferred: ordered ? await lookups.nodesOf(preload, state, owner) : new Set(),
        noNodesSince: noNodesSince(preload),
        servedSince: state.servedSince,
        awaited: options.awaitedOf(owner),
        allowedAt: owner && allowedAt(owner, ownHold(owner), clock.now()),
        times: pullTimes,
        now: clock.now(),
        judged: state.judged,
        absences: state.absences,
      };
    },
  };
}

/** Returns a failure that the status records: what was seen before a restart. */
function recorded({ status }: ImagePreload, image: string, node: string): Failure | undefined {
  const found = status?.failures.find((failure) => failure.image === image && failure.node === node);
  return found && recordedFailure(found.reason, found.message);
}

function failureKey({ image, node }: { readonly image: string; readonly node: string }): string {
  return `${node} ${image}`;
}
