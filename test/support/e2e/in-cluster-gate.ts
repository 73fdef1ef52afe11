import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { REGISTERED_BY_LABEL } from '../../../src/api/names.ts';
import { asObject, type JsonObject } from '../../../src/json.ts';
import { buildGateImage } from '../../cluster/lab/gate-image.ts';
import { CURRENT } from '../../cluster/lab/gate-source.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import type { Scope } from './namespace.ts';

const DEPLOY = resolve(import.meta.dirname, '../../../deploy');

/** The gate as the manifests install it. */
export interface InClusterGate {
  /** Its image, as pods name it. */
  readonly image: string;
  /** As a user does it. */
  install(): Promise<void>;
  /** Gives what is installed this image and changes nothing else. Does not wait for the replicas. */
  replaceImage(): Promise<void>;
  uninstall(): Promise<void>;
  remove(): Promise<void>;
}

/** Installs nothing yet; what it installs is gone when the scope ends. */
export async function inClusterGate(
  scope: Scope,
  lab: Lab,
  components: readonly string[] = [],
  source = CURRENT,
): Promise<InClusterGate> {
  const image = await buildGateImage(lab, undefined, source);
  const deploy = join(source.folder, 'deploy');
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-deploy-'));
  const base = overlay(folder, 'base', deploy, components, image);
  const uninstall = overlay(folder, 'uninstall', join(deploy, 'uninstall'), [], image);

  async function kubectl(args: string[]): Promise<void> {
    const result = await lab.kubectl(args, { timeoutSeconds: 180 });
    assert.equal(result.code, 0, `kubectl ${args.join(' ')}: ${result.stderr}`);
  }
  const remove = () => kubectl(['delete', '-k', base, '--ignore-not-found', '--timeout=120s']);
  scope.after(async () => {
    await remove();
    rmSync(folder, { recursive: true });
  });
  return {
    image,
    async install() {
      // A gate beside the cluster that was killed by a test leaves its webhooks, and an API server refuses two ways to call one.
      await kubectl(['delete', 'mutatingwebhookconfigurations', '-l', `${REGISTERED_BY_LABEL}=process`]);
      await kubectl(['apply', '-k', base]);
      await kubectl(['-n', 'pullgate', 'rollout', 'status', 'deployment/pullgate', '--timeout=120s']);
    },
    replaceImage: () => kubectl(['-n', 'pullgate', 'set', 'image', 'deployment/pullgate', `gate=${image}`]),
    async uninstall() {
      await kubectl(['replace', '--force', '-k', uninstall]);
      const job = ['--for=condition=Complete', 'job/pullgate-uninstall', '--timeout=120s'];
      await kubectl(['-n', 'pullgate', 'wait', ...job]);
    },
    remove,
  };
}

/** What kubectl makes of the manifests with these components. */
export async function rendered(scope: Scope, lab: Lab, components: readonly string[]): Promise<JsonObject[]> {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-deploy-'));
  scope.after(() => rmSync(folder, { recursive: true }));
  const { code, stdout, stderr } = await lab.kubectl([
    'kustomize',
    overlay(folder, 'base', DEPLOY, components, 'registry.test/gate:1'),
  ]);
  assert.equal(code, 0, stderr);
  return [...parseAllDocuments(stdout)].map((document) => asObject(document.toJS()));
}

/** A kustomization of one's own, as the docs recommend it, with the image set. */
function overlay(
  folder: string,
  name: string,
  resource: string,
  components: readonly string[],
  image: string,
): string {
  const path = mkdtempSync(join(folder, `${name}-`));
  const [newName, newTag] = [image.slice(0, image.lastIndexOf(':')), image.slice(image.lastIndexOf(':') + 1)];
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(path, resource)],
    components: components.map((one) => relative(path, join(resource, 'components', one))),
    images: [{ name: 'pullgate', newName, newTag }],
  };
  writeFileSync(join(path, 'kustomization.yaml'), JSON.stringify(kustomization));
  return path;
}
