import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asArray, asNumber, asString, at, type JsonObject } from '../../../src/json.ts';
import { type CommandResult, run } from '../../cluster/lab/command.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import { neighbour } from '../../cluster/lab/neighbours.ts';
import { type Deployment, deploymentOf, manifestOf } from './deployment.ts';
import type { Namespace, Scope } from './namespace.ts';

const CHART = { apiVersion: 'v2', name: 'web', version: '1.0.0' };
const TIMEOUT_SECONDS = 240;

interface Revision {
  readonly revision: number;
  /** `deployed`, `failed`, `superseded`. */
  readonly status: string;
  readonly description: string;
}

/** The release `web` of a chart with the Deployment `web`, whose image is a value. */
export interface HelmRelease {
  readonly web: Deployment;
  /** Runs `helm upgrade` with this image. Fails unless Helm exits with 0. */
  upgrade(image: string, ...flags: readonly string[]): Promise<CommandResult>;
  /** Runs `helm upgrade` with this image, whatever Helm exits with. */
  tryUpgrade(image: string, ...flags: readonly string[]): Promise<CommandResult>;
  /** Runs `helm rollback`. Fails unless Helm exits with 0. */
  rollback(...args: readonly string[]): Promise<CommandResult>;
  history(): Promise<Revision[]>;
}

/** Installs the release and waits until its first version runs. `hooks` are further templates of the chart. */
export async function helmRelease(
  scope: Scope,
  shop: Namespace,
  hooks: readonly JsonObject[] = [],
  ...flags: readonly string[]
): Promise<HelmRelease> {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-helm-'));
  scope.after(() => rmSync(folder, { recursive: true }));
  const chart = join(folder, 'chart');
  mkdirSync(join(chart, 'templates'), { recursive: true });
  writeFileSync(join(chart, 'Chart.yaml'), JSON.stringify(CHART));
  const templates = [manifestOf('web', { image: '{{ .Values.image }}' }), ...hooks];
  for (const [index, template] of templates.entries()) {
    writeFileSync(join(chart, 'templates', `${index}.yaml`), JSON.stringify(template));
  }

  async function helm(args: readonly string[], allowFailure = false): Promise<CommandResult> {
    const argv = [neighbour('helm'), '--namespace', shop.name, ...args];
    // A HOME of its own: Helm's cache and configuration must not mix with those of the user.
    const env = { PATH: process.env['PATH'] ?? '', HOME: folder, KUBECONFIG: shop.lab.kubeconfig };
    const result = await run(argv, { env, allowFailure: true, timeoutSeconds: TIMEOUT_SECONDS });
    assert.ok(allowFailure || result.code === 0, `helm ${args.join(' ')}: ${result.stderr}`);
    return result;
  }
  const version = (image: string) => ['web', chart, '--set', `image=${image}`];
  await helm(['install', ...version(PAUSE_IMAGE), '--wait', ...flags]);
  return {
    web: deploymentOf(shop, 'web'),
    upgrade: (image, ...more) => helm(['upgrade', ...version(image), ...more]),
    tryUpgrade: (image, ...more) => helm(['upgrade', ...version(image), ...more], true),
    rollback: (...args) => helm(['rollback', 'web', ...args]),
    async history() {
      const { stdout } = await helm(['history', 'web', '--output', 'json']);
      return asArray(JSON.parse(stdout)).map((entry) => ({
        revision: asNumber(at(entry, 'revision')) ?? 0,
        status: asString(at(entry, 'status')) ?? '',
        description: asString(at(entry, 'description')) ?? '',
      }));
    },
  };
}

/** A Job that is a hook of the chart at this point of an upgrade, and that ends at once. */
export function hookJob(point: 'pre-upgrade' | 'post-upgrade', image: string): JsonObject {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: point, annotations: { 'helm.sh/hook': point } },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { labels: { hook: point } },
        spec: { restartPolicy: 'Never', containers: [{ name: 'hook', image, command: ['/bin/true'] }] },
      },
    },
  };
}
