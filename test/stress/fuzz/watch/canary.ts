import { HOLD_ANNOTATION, MODE_LABEL } from '../../../../src/api/names.ts';
import { preloadName } from '../../../../src/api/preload-name.ts';
import { asObject, asStringMap, at, type JsonObject } from '../../../../src/json.ts';
import { plainNode } from '../../../cluster/simulated/node-object.ts';
import { deployment } from '../../../support/unit/deployment-builder.ts';
import { heldObject, holdOf } from '../../../support/unit/held-deployment.ts';
import type { Call } from './api-server.ts';
import type { Victim } from './malice.ts';
import { type Objects, type StoredObject, VERSION_MARK } from './stored-objects.ts';

/** On the canary's node, and requested by its pods. */
const NODE_LABEL = 'canary.test/number';
const IMAGE = 'registry.canary.test/app:2';

/**
 * A hold in a namespace of its own, on a node of its own, as nobody had to do with strangers: each collection has to be
 * followed, and each call to be made in time, for it to go the whole way.
 */
export interface Canary extends Victim {
  /** From the update that is held on. */
  begin(): void;
  /** What its kubelet makes of a pod that was created there. */
  onCreated(object: StoredObject): void;
  /** A write of the gate's in its namespace. */
  onCall(call: Call): void;
  /** What it waits for; undefined once it has gone the whole way. */
  waitsFor(): string | undefined;
  /** What happened to it that should not. */
  readonly wrongs: readonly string[];
  end(): void;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one scenario, step after step
export function createCanary(objects: Objects, number: number, now: () => number): Canary {
  const name = `canary-${number}`;
  const uid = `deployments-${name}`;
  const time = () => new Date(now()).toISOString().replace(/\.\d+/, '');
  const metadata = {
    namespace: name,
    name: 'web',
    uid,
    creationTimestamp: time(),
    resourceVersion: VERSION_MARK,
  };
  const running = deployment().metadata(metadata);
  const wanted = running.image(IMAGE);
  const since = new Date(now()).toISOString();
  const { template } = holdOf(wanted);
  const preload = preloadName({ name: 'web', uid, revision: '3' }, template);
  const wrongs: string[] = [];
  let pulled = false;
  let released = false;
  let told = false;
  let labels: Readonly<Record<string, string>> = {};
  let preloadUid = '';

  const put = (kind: StoredObject['kind'], namespace: string, of: string, object: JsonObject) =>
    objects.put(kind, namespace, of, JSON.stringify(object));
  const own = (of: string, more: JsonObject) => ({
    name: of,
    uid: `uid-of-${of}`,
    creationTimestamp: time(),
    resourceVersion: VERSION_MARK,
    ...more,
  });
  const onItsNode = (object: JsonObject): JsonObject => {
    const spec = asObject(object['spec']);
    const podTemplate = asObject(spec['template']);
    const podSpec = { ...asObject(podTemplate['spec']), nodeSelector: { [NODE_LABEL]: `${number}` } };
    return { ...object, spec: { ...spec, template: { ...podTemplate, spec: podSpec } } };
  };

  /** The kubelet has it, some moments later. */
  function pullSoon(pod: StoredObject): void {
    const report = (status: JsonObject) => {
      const there = objects.get('pods', pod.namespace, pod.name);
      if (there !== undefined) objects.patch(there, [{ op: 'add', path: '/status', value: status }]);
    };
    const startTime = time();
    const waiting = { name: 'pull', imageID: '', state: { waiting: { reason: 'ContainerCreating' } } };
    report({ phase: 'Pending', startTime, containerStatuses: [waiting] });
    setTimeout(() => {
      pulled = true;
      const terminated = { reason: 'StartError', exitCode: 128, finishedAt: time() };
      const imageID = `registry.canary.test/app@sha256:${'ab'.repeat(32)}`;
      report({
        phase: 'Failed',
        startTime,
        containerStatuses: [{ name: 'pull', imageID, state: { terminated } }],
      });
    }, 5);
  }

  function look(): void {
    const web = objects.get('deployments', name, 'web');
    const annotations = asStringMap(at(web?.value, 'metadata', 'annotations'));
    if (web === undefined || released || annotations[HOLD_ANNOTATION] !== undefined) return;
    released = true;
    if (!pulled) wrongs.push('it was released before its image was pulled');
    if (at(web.value, 'spec', 'paused') === true) wrongs.push('it stays paused');
  }

  return {
    namespace: name,
    deployment: { name: 'web', uid },
    preload: {
      name: preload,
      get uid() {
        return preloadUid;
      },
    },
    get labels() {
      return labels;
    },
    begin() {
      put('namespaces', '', name, { metadata: own(name, { labels: { [MODE_LABEL]: 'pause' } }) });
      const node = plainNode(name, { [NODE_LABEL]: `${number}` }, new Map());
      put('nodes', '', name, { ...node, metadata: own(name, { labels: at(node, 'metadata', 'labels') }) });
      put('deployments', name, 'web', onItsNode(running.object));
      put(
        'deployments',
        name,
        'web',
        heldObject({ ...wanted, object: onItsNode(wanted.object) }, { uid, since, preload }),
      );
    },
    onCreated(object) {
      if (object.namespace !== name) return;
      if (object.kind === 'imagepreloads') preloadUid = String(at(object.value, 'metadata', 'uid'));
      if (object.kind !== 'pods') return;
      labels = asStringMap(at(object.value, 'metadata', 'labels'));
      pullSoon(object);
    },
    onCall({ method, url, body }) {
      const text = JSON.stringify(body) ?? '';
      if (text.includes('evil')) wrongs.push(`${method} ${url} says: ${text.slice(0, 2000)}`);
      if (text.includes('"RolloutReleased"')) told = true;
    },
    waitsFor() {
      look();
      if (objects.get('imagepreloads', name, preload) === undefined && !released) return 'its ImagePreload';
      if (!pulled) return 'its puller pod';
      if (!released) return 'its release';
      return told ? undefined : 'its Event';
    },
    wrongs,
    end() {
      for (const kind of ['deployments', 'imagepreloads', 'pods'] as const)
        for (const object of objects.list(kind, name)) objects.remove(kind, name, object.name);
      objects.remove('nodes', '', name);
      objects.remove('namespaces', '', name);
    },
  };
}
