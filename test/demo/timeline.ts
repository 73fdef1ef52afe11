/** One pod of a Deployment, as the API server shows it. */
export interface PodView {
  readonly namespace: string;
  readonly app: string;
  readonly name: string;
  readonly image: string;
  /** Its container runs. */
  readonly running: boolean;
  /** Ready, and not being deleted: what a Service sends requests to. */
  readonly ready: boolean;
}

export interface DeploymentView {
  readonly namespace: string;
  readonly name: string;
  readonly image: string;
  readonly held: boolean;
  /** As `kubectl rollout status` sees it: every replica is new and available, and no old one is left. */
  readonly complete: boolean;
}

/** Moments in seconds. */
export interface Rollout {
  readonly askedAt: number;
  readonly wasHeld: boolean;
  readonly releasedAt: number | undefined;
  readonly completeAt: number | undefined;
}

/** Remembers when the API server's watches told what. Every `at` is in seconds from one and the same start. */
export interface Timeline {
  /** `pod` is undefined once it is gone. */
  podChanged(at: number, key: string, pod: PodView | undefined): void;
  deploymentChanged(at: number, deployment: DeploymentView): void;
  readyPods(namespace: string, app: string): number;
  /** How long no pod was ready between the two moments. */
  secondsWithoutReadyPod(namespace: string, app: string, from: number, to: number): number;
  /** When no pod has been ready since; undefined while one is. */
  downSince(namespace: string, app: string): number | undefined;
  /** The pods with this image, in the order of their creation. */
  starts(namespace: string, app: string, image: string): { pod: string; seconds: number }[];
  /** The way to this image; undefined until it was asked for. */
  rollout(namespace: string, name: string, image: string): Rollout | undefined;
}

interface PodRecord {
  readonly view: PodView;
  readonly createdAt: number;
  readonly runningAt: number | undefined;
  readonly gone: boolean;
}

export function createTimeline(): Timeline {
  const pods = new Map<string, PodRecord>();
  const readyChanges = new Map<string, { at: number; ready: number }[]>();
  const deployments = new Map<string, { at: number; view: DeploymentView }[]>();

  function countReady(namespace: string, app: string): number {
    return pods
      .values()
      .filter(({ view, gone }) => !gone && view.ready && view.namespace === namespace && view.app === app)
      .reduce((sum) => sum + 1, 0);
  }

  function changesOf(namespace: string, app: string): { at: number; ready: number }[] {
    return listIn(readyChanges, `${namespace}/${app}`);
  }

  return {
    podChanged(at, key, pod) {
      const known = pods.get(key);
      const view = pod ?? known?.view;
      if (view === undefined) return;
      pods.set(key, {
        view,
        createdAt: known?.createdAt ?? at,
        runningAt: known?.runningAt ?? (view.running ? at : undefined),
        gone: pod === undefined,
      });
      const changes = changesOf(view.namespace, view.app);
      const ready = countReady(view.namespace, view.app);
      if (changes.at(-1)?.ready !== ready) changes.push({ at, ready });
    },
    deploymentChanged(at, view) {
      listIn(deployments, `${view.namespace}/${view.name}`).push({ at, view });
    },
    readyPods: countReady,
    secondsWithoutReadyPod(namespace, app, from, to) {
      const changes = changesOf(namespace, app);
      return changes.reduce((sum, { at, ready }, index) => {
        if (ready > 0) return sum;
        const end = changes[index + 1]?.at ?? Number.POSITIVE_INFINITY;
        return sum + Math.max(0, Math.min(end, to) - Math.max(at, from));
      }, 0);
    },
    downSince(namespace, app) {
      const last = changesOf(namespace, app).at(-1);
      return last?.ready === 0 ? last.at : undefined;
    },
    starts(namespace, app, image) {
      return [...pods.values()]
        .filter(({ view }) => view.namespace === namespace && view.app === app && view.image === image)
        .map(({ view, createdAt, runningAt }) => ({
          pod: view.name,
          seconds: (runningAt ?? Number.POSITIVE_INFINITY) - createdAt,
        }));
    },
    rollout(namespace, name, image) {
      const all = listIn(deployments, `${namespace}/${name}`);
      const first = all.findIndex(({ view }) => view.image === image);
      const asked = all[first];
      if (asked === undefined) return undefined;
      const later = all.slice(first);
      return {
        askedAt: asked.at,
        wasHeld: asked.view.held,
        releasedAt: later.find(({ view }) => !view.held)?.at,
        completeAt: later.find(({ view }) => !view.held && view.complete)?.at,
      };
    },
  };
}

function listIn<T>(lists: Map<string, T[]>, key: string): T[] {
  const there = lists.get(key) ?? [];
  lists.set(key, there);
  return there;
}
