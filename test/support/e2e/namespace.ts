import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type ImagePreload, parseImagePreload } from '../../../src/api/image-preload.ts';
import { API_GROUP_PATH, MODE_LABEL, PULLER_LABEL } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { isNotFound } from '../../../src/cluster/api-error.ts';
import { asArray, asString, asStringMap, at, type JsonObject } from '../../../src/json.ts';
import type { CommandResult } from '../../cluster/lab/command.ts';
import type { ImageSpec, Lab } from '../../cluster/lab/lab.ts';
import { keepEvidence } from './evidence.ts';
import { record, type Timeline } from './timeline.ts';
import { until } from './until.ts';

export interface ToldEvent {
  readonly reason: string;
  readonly type: string;
  readonly note: string;
  /** Name of the object that it is about. */
  readonly about: string;
  /** Kind and name of the object that it is to do with. */
  readonly related: string;
}

/** A namespace of a test's own. */
export interface Namespace {
  readonly name: string;
  readonly lab: Lab;
  readonly api: ApiClient;
  /** As its user, in this namespace; fails unless it ends with 0. */
  kubectl(...args: string[]): Promise<CommandResult>;
  /** The same, whatever it ends with. */
  tryKubectl(...args: string[]): Promise<CommandResult>;
  apply(object: JsonObject): Promise<CommandResult>;
  /** Pushes an image that no node has: the repository is this namespace's own. */
  push(tag: string, spec?: Partial<ImageSpec>): Promise<string>;
  /** The same image by the way of the slow registry. */
  pushSlow(tag: string, megabytes: number): Promise<string>;
  events(about: string): Promise<ToldEvent[]>;
  preloads(): Promise<ImagePreload[]>;
  /** Names of the puller pods that are there. */
  pullerPods(): Promise<string[]>;
  timeline(): Timeline;
}

/** A test, or a suite (suite-scope.ts): whoever has something to clean up when it ends. */
export interface Scope {
  after(end: () => unknown): void;
}

/** Opted in unless the label says otherwise; deleted when the scope ends. */
export async function createNamespace(
  scope: Scope,
  lab: Lab,
  api: ApiClient,
  labels: Readonly<Record<string, string>> = { [MODE_LABEL]: 'pause' },
  gateLog: () => readonly unknown[] = () => [],
): Promise<Namespace> {
  // Its own at each run: nodes keep their images.
  const name = `e2e-${randomBytes(5).toString('hex')}`;
  await api.create('/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels },
  });
  scope.after(async () => {
    await keepEvidence(scope, lab, name, gateLog);
    await api.delete(`/api/v1/namespaces/${name}`).catch((error: unknown) => {
      // A test may have deleted it itself.
      if (!isNotFound(error)) throw error;
    });
  });
  await until(
    'the namespace has its ServiceAccount',
    20,
    () => api.get(`/api/v1/namespaces/${name}/serviceaccounts/default`),
    () => true,
  );

  const tryKubectl = (...args: string[]) => lab.kubectl(['-n', name, ...args], { timeoutSeconds: 120 });
  async function kubectl(...args: string[]): Promise<CommandResult> {
    const result = await tryKubectl(...args);
    assert.equal(result.code, 0, `kubectl ${args.join(' ')}: ${result.stderr}`);
    return result;
  }
  const push = (tag: string, spec: Partial<ImageSpec> = {}) =>
    lab.pushImage({ repository: name, tag, base: 'scratch', ...spec });

  return {
    name,
    lab,
    api,
    tryKubectl,
    kubectl,
    async apply(object) {
      const input = JSON.stringify(object);
      const result = await lab.kubectl(['-n', name, 'apply', '-f', '-'], { input, timeoutSeconds: 60 });
      assert.equal(result.code, 0, result.stderr);
      return result;
    },
    push,
    async pushSlow(tag, megabytes) {
      const reference = await push(tag, { megabytes });
      return reference.replace(lab.registry, lab.slowRegistry);
    },
    async events(about) {
      const list = await api.get(`/apis/events.k8s.io/v1/namespaces/${name}/events`);
      return asArray(at(list, 'items'))
        .filter((event) => asString(at(event, 'reportingController')) === 'pullgate.io/gate')
        .map(toldEvent)
        .filter((event) => event.about === about);
    },
    async preloads() {
      const list = await api.get(`${API_GROUP_PATH}/namespaces/${name}/imagepreloads`);
      return asArray(at(list, 'items')).map(parseImagePreload);
    },
    async pullerPods() {
      const list = await api.get(`/api/v1/namespaces/${name}/pods`);
      return asArray(at(list, 'items'))
        .filter(isPullerPod)
        .map((pod) => asString(at(pod, 'metadata', 'name')) ?? '');
    },
    timeline() {
      const timeline = record(api, name);
      scope.after(() => timeline.stop());
      return timeline;
    },
  };
}

export function isPullerPod(pod: unknown): boolean {
  return asStringMap(at(pod, 'metadata', 'labels'))[PULLER_LABEL] !== undefined;
}

function toldEvent(event: unknown): ToldEvent {
  const text = (...path: string[]) => asString(at(event, ...path)) ?? '';
  return {
    reason: text('reason'),
    type: text('type'),
    note: text('note'),
    about: text('regarding', 'name'),
    related: `${text('related', 'kind')}/${text('related', 'name')}`,
  };
}
