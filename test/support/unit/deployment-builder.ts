import type { JsonObject } from '../../../src/json.ts';

/** The gate's, by default. */
export const PRELOAD_SETTINGS = {
  parallelism: undefined,
  minNodes: '100%',
  nodeTimeoutSeconds: 900,
  deadlineSeconds: 3600,
  ttlSecondsAfterFinished: 3600,
  tightenOnly: false,
  alwaysPullImages: false,
} as const;

export const UID = '8f2d1c1e-0000-4000-8000-000000000001';
export const NAMESPACE = 'shop';
export const NAME = 'web';

interface Container {
  readonly name: string;
  readonly image: string;
  readonly imagePullPolicy?: string;
}

interface State {
  readonly metadata: JsonObject;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: JsonObject;
  readonly templateAnnotations: Readonly<Record<string, string>>;
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
  readonly volumes: readonly JsonObject[];
  readonly podSpec: JsonObject;
}

export interface DeploymentBuilder {
  /** The Deployment as an API server sends it. */
  readonly object: JsonObject;
  /** `null` removes. */
  annotate(name: string, value: string | null): DeploymentBuilder;
  label(name: string, value: string | null): DeploymentBuilder;
  metadata(fields: JsonObject): DeploymentBuilder;
  spec(fields: JsonObject): DeploymentBuilder;
  /** Other fields of its pod template's spec. */
  podSpec(fields: JsonObject): DeploymentBuilder;
  /** Of the container `app`, unless another one is named, which is added if it is not there. */
  image(image: string, name?: string): DeploymentBuilder;
  /** For all containers and init containers. */
  policy(imagePullPolicy: string): DeploymentBuilder;
  initContainer(name: string, image: string): DeploymentBuilder;
  imageVolume(name: string, reference: string): DeploymentBuilder;
  /** As `kubectl rollout restart` does it; any change of the template that is no image. */
  restartedAt(time: string): DeploymentBuilder;
}

/** shop/web, two replicas of the one container `app` with the image `registry.test/app:1`. */
export function deployment(): DeploymentBuilder {
  return builder({
    metadata: { namespace: NAMESPACE, name: NAME, uid: UID, generation: 3 },
    labels: { app: 'web' },
    annotations: { 'deployment.kubernetes.io/revision': '3' },
    spec: { replicas: 2, selector: { matchLabels: { app: 'web' } } },
    templateAnnotations: {},
    containers: [{ name: 'app', image: 'registry.test/app:1' }],
    initContainers: [],
    volumes: [],
    podSpec: {},
  });
}

function builder(state: State): DeploymentBuilder {
  const next = (change: Partial<State>) => builder({ ...state, ...change });
  return {
    object: render(state),
    annotate: (name, value) => next({ annotations: changed(state.annotations, name, value) }),
    label: (name, value) => next({ labels: changed(state.labels, name, value) }),
    metadata: (fields) => next({ metadata: { ...state.metadata, ...fields } }),
    spec: (fields) => next({ spec: { ...state.spec, ...fields } }),
    podSpec: (fields) => next({ podSpec: { ...state.podSpec, ...fields } }),
    image: (image, name = 'app') => {
      const there = state.containers.some((container) => container.name === name);
      const containers = there
        ? state.containers.map((container) => (container.name === name ? { ...container, image } : container))
        : [...state.containers, { name, image }];
      return next({ containers });
    },
    policy: (imagePullPolicy) =>
      next({
        containers: state.containers.map((container) => ({ ...container, imagePullPolicy })),
        initContainers: state.initContainers.map((container) => ({ ...container, imagePullPolicy })),
      }),
    initContainer: (name, image) =>
      next({
        initContainers: [...state.initContainers.filter((other) => other.name !== name), { name, image }],
      }),
    imageVolume: (name, reference) =>
      next({
        volumes: [
          ...state.volumes.filter((volume) => volume['name'] !== name),
          { name, image: { reference } },
        ],
      }),
    restartedAt: (time) => next({ templateAnnotations: { 'kubectl.kubernetes.io/restartedAt': time } }),
  };
}

function changed(map: Readonly<Record<string, string>>, name: string, value: string | null) {
  const { [name]: _, ...rest } = map;
  return value === null ? rest : { ...rest, [name]: value };
}

/** Empty maps and lists are left out, as the API server does. */
function render(state: State): JsonObject {
  const { metadata, labels, annotations, spec, templateAnnotations } = state;
  const { containers, initContainers, volumes, podSpec } = state;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      ...metadata,
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(Object.keys(annotations).length > 0 && { annotations }),
    },
    spec: {
      ...spec,
      template: {
        metadata: {
          creationTimestamp: null,
          labels: { app: 'web' },
          ...(Object.keys(templateAnnotations).length > 0 && { annotations: templateAnnotations }),
        },
        spec: {
          containers,
          ...(initContainers.length > 0 && { initContainers }),
          ...(volumes.length > 0 && { volumes }),
          ...podSpec,
        },
      },
    },
    status: {
      observedGeneration: 3,
      replicas: 2,
      updatedReplicas: 2,
      readyReplicas: 2,
      availableReplicas: 2,
    },
  };
}
