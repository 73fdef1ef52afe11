// biome-ignore-all lint/style/noExcessiveLinesPerFile: one sequence with its observers
import {
  API_GROUP_PATH,
  HELD_LABEL,
  HOLD_ANNOTATION,
  MODE_LABEL,
  type Mode,
  REVERT_ANNOTATION,
  REVISION_ANNOTATION,
} from '../../../src/api/names.ts';
import { systemClock, wait } from '../../../src/clock.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { createApiClient } from '../../../src/cluster/api-client.ts';
import { loadKubeconfig } from '../../../src/cluster/kubeconfig.ts';
import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../../../src/json.ts';
import { readUpdates } from '../../cluster/lab/audit-log.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { logSince, logSize } from '../../cluster/lab/process-table.ts';
import { GROUP_LABEL } from '../../cluster/simulated/node-object.ts';
import { simulateNodes } from '../../cluster/simulated/simulated-nodes.ts';
import { createNamespace, isPullerPod, type Scope } from '../../support/e2e/namespace.ts';
import { until } from '../../support/e2e/until.ts';
import { type Caller, createCaller, nameOf } from './call.ts';
import { evidenceText } from './evidence.ts';
import { type RunningGate, TIMES } from './gated-run.ts';
import type { History, UserUpdate } from './history.ts';
import { judge } from './invariants.ts';
import { type Observer, observe } from './observe.ts';
import { POOL_LABEL } from './on-nodes.ts';
import { isUserStep, type Sequence, type Step, stepText, type UserStep } from './step.ts';
import { templateText } from './stored.ts';
import { inStoredOrder } from './stored-order.ts';
import {
  manifestOf,
  newWorkload,
  type Place,
  type UpdateStep,
  undoTo,
  updateFor,
  type Workload,
} from './workload.ts';
import { createWorld, type World } from './world.ts';

/** Until everything is at rest once the world is healed: back-offs of seconds, a kubelet's, and a rollout after the other. */
const REST_SECONDS = 90;
/** Below the time that a finished ImagePreload has: its end would take its pods away anyway. */
const PODS_SECONDS = 12;
/** Kubelets double it: what fails for a whole sequence is still tried again soon after. */
const KUBELET_BACKOFF_MS = 2000;
/** As a user does who runs the command again. */
const REPEAT_MS = 500;
const NEVER = new AbortController().signal;
const API_SERVER = 'hub/kube-apiserver';

export interface Outcome {
  readonly steps: number;
  /** What went wrong, and then what had been done. */
  readonly problems: readonly string[];
  readonly script: readonly string[];
  /** See `evidenceText`; empty if nothing went wrong, and no update passed without the gate's answer. */
  readonly evidence: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

/** Lives through one sequence in a namespace of its own. */
export async function runSequence(
  lab: Lab,
  sequence: Sequence,
  gate: Pick<RunningGate, 'down' | 'lines' | 'needsPermission'>,
  onBegun: () => void,
): Promise<Outcome> {
  const closing: (() => unknown)[] = [];
  const scope: Scope = { after: (end) => closing.unshift(end) };
  const script: string[] = [];
  const problems: string[] = [];
  const evidence: string[] = [];
  const [began, logged] = [Date.now(), logSize(API_SERVER)];
  let counts: Outcome['counts'] = {};
  try {
    const api = await connect(lab);
    scope.after(() => api.close());
    const run = await begin(scope, lab, api, sequence, gate, script);
    onBegun();
    try {
      for (const step of sequence.steps) await run.step(step);
      await run.rest();
    } catch (error) {
      problems.push(messageOf(error));
    }
    const updates = await readUpdates(run.namespace);
    const failedOpen = updates
      .filter((update) => update.failedOpen.length > 0)
      .map(({ name, at: when }) => ({ of: name, at: when - performance.timeOrigin }));
    const judgement = judge({ ...run.history, moments: inStoredOrder(run.history.moments), failedOpen });
    problems.push(...judgement.violations);
    if (problems.length > 0 || failedOpen.length > 0) {
      const { namespace } = run;
      const [lines, apiServer] = [gate.lines(), logSince(API_SERVER, logged)];
      const known = { namespace, from: began, to: Date.now(), gate: lines, updates, apiServer };
      evidence.push(...evidenceText(known));
    }
    counts = { ...judgement.counts, refused: run.history.updates.filter(isRefused).length };
  } catch (error) {
    problems.push(messageOf(error));
  } finally {
    onBegun();
    for (const end of closing) {
      try {
        await end();
      } catch (error) {
        problems.push(`when it was over: ${messageOf(error)}`);
      }
    }
  }
  return { steps: sequence.steps.length, problems, script, evidence, counts };
}

function isRefused({ resourceVersion }: UserUpdate): boolean {
  return resourceVersion === undefined;
}

/** As the administrator, unless a header says otherwise. */
export async function connect(lab: Lab, headers: Readonly<Record<string, string>> = {}): Promise<ApiClient> {
  const cluster = await loadKubeconfig(lab.kubeconfig, lab.context);
  return createApiClient(
    { ...cluster, headers: { ...cluster.headers, ...headers } },
    { clock: systemClock, random: Math.random },
  );
}

/** A user with the role `edit` in that namespace, and no other right. */
async function editorOf(scope: Scope, lab: Lab, api: ApiClient, namespace: string): Promise<ApiClient> {
  const name = `editor-of-${namespace}`;
  await api.create(`/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings`, {
    metadata: { name: 'editor' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }],
  });
  const own = await connect(lab, { 'Impersonate-User': name });
  scope.after(() => own.close());
  return own;
}

interface Run {
  readonly namespace: string;
  readonly history: Omit<History, 'failedOpen'>;
  step(step: Step): Promise<void>;
  /** Heals the world, and waits until nothing is held, or pulled, or rolled out any more. */
  rest(): Promise<void>;
}

async function begin(
  scope: Scope,
  lab: Lab,
  api: ApiClient,
  sequence: Sequence,
  { down, needsPermission }: Pick<RunningGate, 'down' | 'needsPermission'>,
  script: string[],
): Promise<Run> {
  const { name: namespace } = await createNamespace(scope, lab, api, { [MODE_LABEL]: sequence.mode });
  const nodes = await simulateNodes(scope, api, sequence.nodes, { backoffMs: KUBELET_BACKOFF_MS });
  const observer = await observe(api, namespace, nodes.pod.nodeSelector[GROUP_LABEL] ?? '');
  scope.after(() => observer.stop());

  const modes: { from: number; to: number; mode: Mode | 'none' }[] = [
    { from: 0, to: Number.POSITIVE_INFINITY, mode: sequence.mode },
  ];
  const onMode = (mode: Mode | 'none') => {
    const now = performance.now();
    const last = modes.at(-1);
    if (last !== undefined) last.to = now;
    modes.push({ from: now, to: Number.POSITIVE_INFINITY, mode });
  };
  const world = createWorld(api, namespace, nodes, onMode);
  const updates: UserUpdate[] = [];
  const { moments } = observer;
  const history = { moments, updates, modes, down, pulls: nodes.pulls, needsPermission, times: TIMES };

  // Not by a nodeSelector: the nodes' group alone would then decide, and relabelling nothing.
  const outside = { key: POOL_LABEL, operator: 'DoesNotExist' };
  const required = { nodeSelectorTerms: [{ matchExpressions: [outside] }] };
  const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } };
  const place: Place = { namespace, pod: { ...nodes.pod, affinity } };
  const own = needsPermission ? await editorOf(scope, lab, api, namespace) : api;
  const user = createUser({ api: own, place, observer, updates, log: (line) => script.push(line) });
  for (const { name, replicas } of sequence.workloads) await user.create(newWorkload(name, replicas));
  await until(
    'all run',
    60,
    () => observer.now('Deployment'),
    (all) => all.every(isRolledOut),
  );

  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  return {
    namespace,
    history,
    async step(step) {
      script.push(`${seconds()} ${stepText(step)}`);
      if (step.do === 'wait') await wait(systemClock, step.ms, NEVER);
      else if (isUserStep(step)) await user.step(step);
      else await world.apply(step);
    },
    rest: () => rest(world, user, observer),
  };
}

interface User {
  create(workload: Workload): Promise<void>;
  step(step: UserStep): Promise<void>;
  /** Asks again for what was refused. */
  repeatAll(): Promise<void>;
  /** As they are stored. */
  deployments(): Promise<readonly JsonObject[]>;
  resume(name: string): Promise<void>;
}

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one sequence, step after step
function createUser(options: {
  readonly api: ApiClient;
  readonly place: Place;
  readonly observer: Observer;
  readonly updates: UserUpdate[];
  readonly log: (line: string) => void;
}): User {
  const { api, place, observer, updates, log } = options;
  const caller: Caller = createCaller(api, place.namespace);
  const workloads = new Map<string, Workload>();
  const saved = new Map<string, { readonly object: JsonObject; readonly workload: Workload }>();
  /** What was refused last, by Deployment. */
  const refused = new Map<string, UpdateStep>();
  /** By the template that it had in mind. */
  const asked = new Map<string, Workload>();
  let turn = 0;

  /** Returns what is stored; undefined if it was refused. */
  async function send(
    name: string,
    text: string,
    update: UserUpdate['update'],
  ): Promise<JsonObject | undefined> {
    const began = performance.now();
    const stored = await caller.update(name, update);
    const resourceVersion = asString(at(stored, 'metadata', 'resourceVersion'));
    updates.push({ text, of: name, update, began, ended: performance.now(), resourceVersion });
    if (stored === undefined) log('  refused');
    return stored;
  }

  async function ask(step: UpdateStep): Promise<void> {
    const before = workloads.get(step.of);
    if (before === undefined) return;
    turn += 1;
    const { after, update } = updateFor(step, before, place, turn);
    const stored = await send(step.of, stepText(step), update);
    if (stored !== undefined) {
      remember(step.do === 'revert' ? reverted(after, stored) : after);
      if (refused.get(step.of) === step) refused.delete(step.of);
    } else refused.set(step.of, step);
  }

  function remember(workload: Workload): void {
    workloads.set(workload.name, workload);
    asked.set(templateText(manifestOf(workload, place)), workload);
  }

  /** What the user has in mind after a revert: the template that is stored. The annotation stays if nothing was held. */
  function reverted(after: Workload, stored: JsonObject): Workload {
    const { images, always, env, restarts } = asked.get(templateText(stored)) ?? after;
    const { [REVERT_ANNOTATION]: reason, ...others } = after.annotations;
    const isIgnored = at(stored, 'metadata', 'annotations', REVERT_ANNOTATION) === reason;
    return { ...after, images, always, env, restarts, annotations: isIgnored ? after.annotations : others };
  }

  async function undo(name: string): Promise<void> {
    const stored = await caller.read(name);
    const uid = at(stored, 'metadata', 'uid');
    const revision = (set: JsonObject) =>
      Number(at(set, 'metadata', 'annotations', REVISION_ANNOTATION) ?? 0);
    const sets = observer
      .now('ReplicaSet')
      .filter((set) =>
        asArray(at(set, 'metadata', 'ownerReferences')).some((owner) => at(owner, 'uid') === uid),
      )
      .sort((a, b) => revision(b) - revision(a));
    const before = workloads.get(name);
    const meant = sets[1] && asked.get(templateText(sets[1]));
    // kubectl refuses it for one that is paused.
    if (sets[1] === undefined || before === undefined || meant === undefined) return;
    if (at(stored, 'spec', 'paused') === true) return;
    const { images, always, env, restarts } = meant;
    if ((await send(name, 'undo', undoTo(stored, sets[1]))) !== undefined)
      remember({ ...before, images, always, env, restarts });
  }

  async function save(name: string): Promise<{ readonly object: JsonObject; readonly workload: Workload }> {
    const workload = workloads.get(name) ?? newWorkload(name, 1);
    const copy = { object: await caller.read(name), workload };
    saved.set(name, copy);
    return copy;
  }

  async function copy(name: string): Promise<void> {
    turn += 1;
    const other = `${name}-copy-${turn}`;
    const object = withoutServerFields(await caller.read(name));
    const labels = { ...asStringMap(at(object, 'metadata', 'labels')), app: other };
    const spec = asObject(object['spec']);
    const template = asObject(spec['template']);
    await caller.create({
      ...object,
      metadata: { ...asObject(object['metadata']), name: other, labels },
      spec: {
        ...spec,
        selector: { matchLabels: { app: other } },
        template: { ...template, metadata: { ...asObject(template['metadata']), labels: { app: other } } },
      },
    });
  }

  async function deletePreloads(name: string): Promise<void> {
    const collection = `${API_GROUP_PATH}/namespaces/${place.namespace}/imagepreloads`;
    for (const preload of observer.now('ImagePreload')) {
      const owners = asArray(at(preload, 'metadata', 'ownerReferences'));
      if (!owners.some((owner) => at(owner, 'name') === name)) continue;
      // It may have ended by itself.
      await api.delete(`${collection}/${nameOf(preload)}`).catch(() => undefined);
    }
  }

  return {
    async create(workload) {
      await caller.create(manifestOf(workload, place));
      remember(workload);
    },
    async step(step) {
      switch (step.do) {
        case 'repeat': {
          const again = refused.get(step.of);
          return again === undefined ? undefined : await ask(again);
        }
        case 'undo':
          return await undo(step.of);
        case 'copy':
          return await copy(step.of);
        case 'save':
          await save(step.of);
          return undefined;
        case 'restore': {
          const backup = saved.get(step.of) ?? (await save(step.of));
          await caller.remove(step.of);
          await caller.create(withoutServerFields(backup.object));
          workloads.set(step.of, backup.workload);
          return undefined;
        }
        case 'deletePreloads':
          return await deletePreloads(step.of);
        default:
          return await ask(step);
      }
    },
    async repeatAll() {
      for (const step of refused.values()) await ask(step);
      if (refused.size === 0) return;
      await wait(systemClock, REPEAT_MS, NEVER);
      throw new Error(`refused: ${[...refused.values()].map(stepText).join(', ')}`);
    },
    async deployments() {
      const list = await api.get(`/apis/apps/v1/namespaces/${place.namespace}/deployments`);
      return asArray(at(list, 'items')).map(asObject);
    },
    async resume(name) {
      await send(name, 'resume', { verb: 'merge', body: { spec: { paused: false } }, paused: false });
    },
  };
}

/** As a backup has it: with its annotations. */
function withoutServerFields(object: JsonObject): JsonObject {
  const { name, labels, annotations } = asObject(object['metadata']);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels, annotations },
    spec: object['spec'],
  };
}

async function rest(world: World, user: User, observer: Observer): Promise<void> {
  await world.heal();
  await until(
    'what was refused is let through',
    REST_SECONDS,
    () => user.repeatAll().then(() => true),
    Boolean,
  );
  // Asked for: what was let through just now is heard of later.
  await until(
    'no Deployment is held',
    REST_SECONDS,
    async () => (await user.deployments()).filter(isMarked).map(summary),
    isEmpty,
  );
  const unfinished = async () => {
    const there = await user.deployments();
    // Puller pods stay as long as a rollout may still need them, so also for one that its user has paused.
    for (const one of there) if (at(one, 'spec', 'paused') === true) await user.resume(nameOf(one));
    return there.filter((one) => !isRolledOut(one));
  };
  await until('every rollout is over', REST_SECONDS, async () => (await unfinished()).map(summary), isEmpty);
  await until(
    'no puller pod is left',
    PODS_SECONDS,
    () => observer.now('Pod').filter(isPullerPod).map(summary),
    isEmpty,
  );
}

function isEmpty(list: readonly unknown[]): boolean {
  return list.length === 0;
}

function isMarked(object: JsonObject): boolean {
  const { labels, annotations } = asObject(object['metadata']);
  return (
    asStringMap(annotations)[HOLD_ANNOTATION] !== undefined || asStringMap(labels)[HELD_LABEL] !== undefined
  );
}

function isRolledOut(object: JsonObject): boolean {
  const { metadata, spec, status } = object;
  const count = (field: string) => Number(at(status, field) ?? 0);
  const replicas = Number(at(spec, 'replicas') ?? 1);
  return (
    at(spec, 'paused') !== true &&
    count('observedGeneration') >= Number(at(metadata, 'generation')) &&
    ['replicas', 'updatedReplicas', 'availableReplicas'].every((field) => count(field) === replicas)
  );
}

/** What to read of what is not as it should be. */
function summary(object: JsonObject): string {
  const { annotations, labels } = asObject(object['metadata']);
  return JSON.stringify({
    name: nameOf(object),
    annotations,
    labels,
    spec: object['spec'],
    status: object['status'],
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
