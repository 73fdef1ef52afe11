import { asArray, asString, at, type JsonObject } from '../../../src/json.ts';

/** What a kubelet reads of a pod that is bound to its node. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly deleting: boolean;
  /** As the API server has it. */
  readonly ready: boolean;
  /** In the order in which they start. */
  readonly containers: readonly Container[];
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly init: boolean;
  /** Empty for the image's own. */
  readonly command: string;
}

export function parsePod(raw: unknown): Pod {
  const metadata = at(raw, 'metadata');
  const text = (value: unknown, field: string) => asString(at(value, field)) ?? '';
  const containers = (field: string, init: boolean) =>
    asArray(at(raw, 'spec', field)).map((container) => ({
      name: text(container, 'name'),
      image: text(container, 'image'),
      imagePullPolicy: text(container, 'imagePullPolicy'),
      init,
      command: asString(asArray(at(container, 'command'))[0]) ?? '',
    }));
  return {
    namespace: text(metadata, 'namespace'),
    name: text(metadata, 'name'),
    uid: text(metadata, 'uid'),
    node: text(at(raw, 'spec'), 'nodeName'),
    deleting: at(metadata, 'deletionTimestamp') !== undefined,
    ready: asArray(at(raw, 'status', 'conditions')).some(
      (condition) => at(condition, 'type') === 'Ready' && at(condition, 'status') === 'True',
    ),
    containers: [...containers('initContainers', true), ...containers('containers', false)],
  };
}

/** How far a container is. */
export interface ContainerState {
  readonly state: JsonObject;
  readonly ready: boolean;
  readonly imageID: string;
}

export function waiting(reason: string, message?: string): ContainerState {
  const why = { reason, ...(message !== undefined && { message }) };
  return { state: { waiting: why }, ready: false, imageID: '' };
}

/** With its image on the node it runs at once, unless its command is one that no image has. */
export function started({ image, init, command }: Container, digest: string): ContainerState {
  const imageID = `${image.replace(/@.*$/, '').replace(/:[^/:]+$/, '')}@${digest}`;
  const now = time();
  if (isPreloadOnly(command)) {
    const message = `failed to create containerd task: OCI runtime create failed: exec: "${command}": stat ${command}: no such file or directory: unknown`;
    // containerd writes the epoch for a container that never started.
    const times = { startedAt: '1970-01-01T00:00:00Z', finishedAt: now };
    const state = { terminated: { exitCode: 128, reason: 'StartError', message, ...times } };
    return { state, ready: false, imageID };
  }
  if (init) {
    const terminated = { exitCode: 0, reason: 'Completed', startedAt: now, finishedAt: now };
    return { state: { terminated }, ready: true, imageID };
  }
  return { state: { running: { startedAt: now } }, ready: true, imageID };
}

/** The command of a puller pod, see src/preloads/pods/puller-pod.ts. */
export function isPreloadOnly(command: string): boolean {
  return command.startsWith('/pullgate-preload-only-');
}

/** Whether all its containers run. */
export function isReady(pod: Pod, states: ReadonlyMap<string, ContainerState>): boolean {
  return pod.containers.every(({ name }) => states.get(name)?.ready === true);
}

/** The whole status, in the words of a kubelet with containerd 1.6. */
export function podStatus(
  pod: Pod,
  states: ReadonlyMap<string, ContainerState>,
  startTime: string,
  serving = true,
): JsonObject {
  const stateOf = ({ name }: Container) => {
    const state = states.get(name) ?? waiting('ContainerCreating');
    return { ...state, ready: state.ready && (serving || state.state['running'] === undefined) };
  };
  const statuses = (init: boolean) =>
    pod.containers
      .filter((container) => container.init === init)
      .map((container) => {
        const { name, image } = container;
        return { name, image, restartCount: 0, ...stateOf(container) };
      });
  const main = statuses(false);
  const condition = (type: string, is: boolean) => ({
    type,
    status: is ? 'True' : 'False',
    lastTransitionTime: is ? time() : startTime,
  });
  const ready = main.every((status) => status.ready);
  return {
    phase: phaseOf(main),
    startTime,
    conditions: [
      condition('PodScheduled', true),
      condition(
        'Initialized',
        statuses(true).every((status) => status.ready),
      ),
      condition('ContainersReady', ready),
      condition('Ready', ready),
    ],
    initContainerStatuses: statuses(true),
    containerStatuses: main,
  };
}

/** As `getPhase` of pkg/kubelet/kubelet_pods.go; what ends here has failed to start. */
function phaseOf(statuses: readonly ContainerState[]): string {
  if (statuses.some(({ state }) => state['waiting'] !== undefined)) return 'Pending';
  return statuses.some(({ state }) => state['running'] !== undefined) ? 'Running' : 'Failed';
}

/** As objects of the API have it: to the second. */
export function time(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}
