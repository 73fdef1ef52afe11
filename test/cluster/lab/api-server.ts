import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { identityFiles, PKI_FILES } from './certificates.ts';
import { LabError } from './errors.ts';

export interface NodeState {
  name: string;
  ready: boolean;
  /** When the kubelet last said so, to the second, in milliseconds. */
  saidAt: number;
  kubeletVersion: string;
  runtimeVersion: string;
}

interface NodeObject {
  metadata: { name: string };
  status: {
    conditions?: { type: string; status: string; lastHeartbeatTime: string }[];
    nodeInfo?: { kubeletVersion: string; containerRuntimeVersion: string };
  };
}

/** The few requests that the lab itself makes, as its admin. */
export class ApiServer {
  readonly #url: string;
  readonly #agent: Agent;

  constructor(url: string) {
    this.#url = url;
    const admin = identityFiles('admin');
    this.#agent = new Agent({
      ca: readFileSync(PKI_FILES.ca),
      cert: readFileSync(admin.certificate),
      key: readFileSync(admin.key),
    });
  }

  async isReady(): Promise<true | string> {
    const { status, body } = await this.#call('GET', '/readyz');
    const failing = body.split('\n').filter((line) => line.startsWith('[-]'));
    return status === 200 || `/readyz answers ${status} ${failing.join(', ')}`;
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#call('GET', path)).status === 200;
  }

  async nodes(): Promise<NodeState[]> {
    const { items } = await this.get<{ items: NodeObject[] }>('/api/v1/nodes');
    return items.map(({ metadata, status }) => {
      const condition = status.conditions?.find(({ type }) => type === 'Ready');
      return {
        name: metadata.name,
        ready: condition?.status === 'True',
        saidAt: Date.parse(condition?.lastHeartbeatTime ?? '1970-01-01'),
        kubeletVersion: status.nodeInfo?.kubeletVersion ?? '',
        runtimeVersion: status.nodeInfo?.containerRuntimeVersion ?? '',
      };
    });
  }

  async get<T>(path: string): Promise<T> {
    const { status, body } = await this.#call('GET', path);
    if (status !== 200) {
      throw new LabError(`GET ${path}: ${status} ${body.slice(0, 300)}`);
    }
    return JSON.parse(body) as T;
  }

  /** Gone already is fine. */
  async delete(path: string): Promise<void> {
    const { status, body } = await this.#call('DELETE', path);
    if (status >= 300 && status !== 404) {
      throw new LabError(`DELETE ${path}: ${status} ${body.slice(0, 300)}`);
    }
  }

  /** Without a kubelet nobody else would confirm that they have ended. */
  async deletePodsOf(node: string): Promise<void> {
    const path = `/api/v1/pods?fieldSelector=spec.nodeName%3D${node}`;
    const { items } = await this.get<{ items: { metadata: { namespace: string; name: string } }[] }>(path);
    for (const { metadata } of items) {
      await this.delete(
        `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}?gracePeriodSeconds=0`,
      );
    }
  }

  #call(method: string, path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const outgoing = request(`${this.#url}${path}`, { method, agent: this.#agent, timeout: 5000 });
      outgoing.on('timeout', () => outgoing.destroy(new LabError(`${method} ${path}: no answer within 5 s`)));
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      });
      outgoing.end();
    });
  }
}
