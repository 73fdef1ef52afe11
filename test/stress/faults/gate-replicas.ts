import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { GATE_NAMESPACE, LEASE } from '../../../src/api/names.ts';
import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asArray, asNumber, asString, at } from '../../../src/json.ts';
import { HUB_ADDRESS, REGISTRY_HOSTS } from '../../cluster/lab/addresses.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { until } from '../../support/e2e/until.ts';

/** From the second kill on the kubelet lets a container wait, 10 s at first and up to 5 min: a pod that was killed so often is replaced. */
const MOST_RESTARTS = 1;
const READY_SECONDS = 90;
const REPLICAS = 2;
const DEPLOYMENT = `/apis/apps/v1/namespaces/${GATE_NAMESPACE}/deployments/pullgate`;
const LEASE_PATH = `/apis/coordination.k8s.io/v1/namespaces/${GATE_NAMESPACE}/leases/${LEASE}`;
const MANIFESTS = ['oci.image.manifest.v1', 'docker.distribution.manifest.v2'].map(
  (kind) => `application/vnd.${kind}+json`,
);

interface Replica {
  readonly name: string;
  readonly restarts: number;
  /** As containerd knows it. */
  readonly container: string;
}

/** The gate's pods, seen and treated from outside. */
export interface GateReplicas {
  names(): Promise<string[]>;
  /** Name of the pod that holds the Lease. */
  leader(): Promise<string>;
  /** Their processes, and nothing else of them, end at once. Returns when that was. */
  kill9(names: readonly string[]): Promise<number>;
  /** As a new version does: another image, and another API server in its environment. */
  upgrade(server: { readonly host: string; readonly port: number }): Promise<void>;
  /** Until both are ready. */
  ready(): Promise<void>;
  /** Those that the kubelet would let wait after the next kill. */
  replaceWorn(): Promise<void>;
}

export function gateReplicas(lab: Lab, api: ApiClient): GateReplicas {
  let upgrades = 0;

  async function kubectl(...args: string[]): Promise<void> {
    const { code, stderr } = await lab.kubectl(['-n', GATE_NAMESPACE, ...args], { timeoutSeconds: 120 });
    assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr}`);
  }

  async function list(): Promise<Replica[]> {
    const labelSelector = 'app.kubernetes.io/component=gate';
    const pods = await api.get(`/api/v1/namespaces/${GATE_NAMESPACE}/pods`, { labelSelector });
    return asArray(at(pods, 'items'))
      .filter((pod) => at(pod, 'metadata', 'deletionTimestamp') === undefined)
      .map((pod) => {
        const [status] = asArray(at(pod, 'status', 'containerStatuses'));
        return {
          name: asString(at(pod, 'metadata', 'name')) ?? '',
          restarts: asNumber(at(status, 'restartCount')) ?? 0,
          container: (asString(at(status, 'containerID')) ?? '').replace('containerd://', ''),
        };
      });
  }

  async function leader(): Promise<string> {
    // `<pod>_<random>`, see src/cluster/elector.ts.
    const name = async () =>
      (asString(at(await api.get(LEASE_PATH), 'spec', 'holderIdentity')) ?? '').split('_')[0];
    return (
      (await until('one of the replicas leads', 40, name, (one) => one !== undefined && one !== '')) ?? ''
    );
  }

  async function rolledOut(): Promise<void> {
    await until(
      'both replicas are ready',
      READY_SECONDS,
      () => api.get(DEPLOYMENT),
      (deployment) => {
        const count = (field: string) => asNumber(at(deployment, 'status', field)) ?? 0;
        return (
          count('observedGeneration') >= (asNumber(at(deployment, 'metadata', 'generation')) ?? 0) &&
          ['replicas', 'updatedReplicas', 'readyReplicas'].every((field) => count(field) === REPLICAS)
        );
      },
    );
  }

  /** The same image under another name: a manifest that is put a second time. */
  async function copyImage(image: string): Promise<string> {
    const [repository = '', from = ''] = image.slice(image.indexOf('/') + 1).split(':');
    upgrades += 1;
    // Of its content, as the first one: nodes keep what they have pulled under that name.
    const tag = `${from.split('-')[0]}-${upgrades}`;
    const url = `http://${HUB_ADDRESS}:${REGISTRY_HOSTS.registry.port}/v2/${repository}/manifests`;
    const answer = await fetch(`${url}/${from}`, { headers: { accept: MANIFESTS.join() } });
    assert.equal(answer.status, 200, `${url}/${from}`);
    const headers = { 'content-type': answer.headers.get('content-type') ?? '' };
    const stored = await fetch(`${url}/${tag}`, { method: 'PUT', headers, body: await answer.arrayBuffer() });
    assert.equal(stored.status, 201, await stored.text());
    return `${image.slice(0, image.lastIndexOf(':'))}:${tag}`;
  }

  return {
    names: async () => (await list()).map(({ name }) => name),
    leader,
    async kill9(names) {
      const replicas = (await list()).filter(({ name }) => names.includes(name));
      const pids = replicas.flatMap(({ container }) => processesOf(container));
      assert.equal(pids.length, names.length, 'one process each');
      for (const pid of pids) process.kill(pid, 'SIGKILL');
      return Date.now();
    },
    async upgrade(server) {
      const deployment = await api.get(DEPLOYMENT);
      const [container] = asArray(at(deployment, 'spec', 'template', 'spec', 'containers'));
      const image = await copyImage(asString(at(container, 'image')) ?? '');
      const env = [
        { name: 'KUBERNETES_SERVICE_HOST', value: server.host },
        { name: 'KUBERNETES_SERVICE_PORT', value: String(server.port) },
      ];
      const containers = [{ name: at(container, 'name'), image, env }];
      await api.strategicPatch(DEPLOYMENT, { spec: { template: { spec: { containers } } } });
      await kubectl('rollout', 'status', 'deployment/pullgate', `--timeout=${READY_SECONDS}s`);
    },
    ready: rolledOut,
    async replaceWorn() {
      const worn = (await list()).filter(({ restarts }) => restarts > MOST_RESTARTS);
      if (worn.length > 0) await kubectl('delete', 'pod', ...worn.map(({ name }) => name));
    },
  };
}

/** By the cgroup that containerd gave the container: the pids as the machine has them. */
function processesOf(container: string): number[] {
  assert.match(container, /^[0-9a-f]{64}$/);
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && cgroupsOf(entry).includes(`/${container}`))
    .map(Number);
}

function cgroupsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'latin1');
  } catch {
    // It ended while we looked.
    return '';
  }
}
