import assert from 'node:assert/strict';
import { parseDeployment, type Deployment as Stored } from '../../../src/api/deployment.ts';
import { HELD_LABEL, HOLD_ANNOTATION } from '../../../src/api/names.ts';
import { asString, at, type JsonObject } from '../../../src/json.ts';
import type { CommandResult } from '../../cluster/lab/command.ts';
import { PAUSE_IMAGE } from '../../cluster/lab/images.ts';
import type { Namespace } from './namespace.ts';
import { imagesOf, type Moment } from './timeline.ts';
import { until } from './until.ts';

interface DeploymentOptions {
  readonly replicas?: number;
  /** What runs at first: by default one that every node has from the start. */
  readonly image?: string;
  /** Further fields of the pods' spec. */
  readonly pod?: JsonObject;
}

/** A Deployment with the one container `app`. */
export interface Deployment {
  readonly name: string;
  read(): Promise<Stored>;
  setImage(image: string): Promise<CommandResult>;
  /** Until the gate has taken the hold off. */
  released(seconds: number): Promise<Stored>;
  /** Until everything runs as the template says. */
  rolledOut(seconds: number): Promise<Stored>;
}

/** As a user has it in a file. */
export function manifestOf(
  name: string,
  { replicas = 1, image = PAUSE_IMAGE, pod = {} }: DeploymentOptions = {},
): JsonObject {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'app', image }], ...pod },
      },
    },
  };
}

/** Creates it and waits until it runs. A first rollout has nothing to keep running and is not held. */
export async function deploy(
  namespace: Namespace,
  name: string,
  options: DeploymentOptions = {},
): Promise<Deployment> {
  await namespace.api.create(collectionOf(namespace), manifestOf(name, options));
  const deployment = deploymentOf(namespace, name);
  await deployment.rolledOut(60);
  return deployment;
}

/** A Deployment that somebody else creates. */
export function deploymentOf(namespace: Namespace, name: string): Deployment {
  const read = async () => parseDeployment(await namespace.api.get(`${collectionOf(namespace)}/${name}`));
  return {
    name,
    read,
    setImage: (next) => namespace.kubectl('set', 'image', `deployment/${name}`, `app=${next}`),
    released: (seconds) => until(`${name} is released`, seconds, read, (stored) => !isHeld(stored)),
    rolledOut: (seconds) => until(`${name} is rolled out`, seconds, read, isRolledOut),
  };
}

/**
 * Stores the object as it is, whatever is stored. `kubectl replace` without --raw adds the resourceVersion that it has just read, and
 * meets a conflict if the Deployment controller writes a status in between: it still does when the last old pod has ended.
 */
export async function replaceDeployment(namespace: Namespace, object: JsonObject): Promise<CommandResult> {
  const path = `${collectionOf(namespace)}/${asString(at(object, 'metadata', 'name'))}`;
  const args = ['replace', '--raw', path, '-f', '-'];
  const result = await namespace.lab.kubectl(args, { input: JSON.stringify(object) });
  assert.equal(result.code, 0, result.stderr);
  return result;
}

function collectionOf({ name }: Namespace): string {
  return `/apis/apps/v1/namespaces/${name}/deployments`;
}

export function isHeld({ annotations, labels }: Pick<Stored, 'annotations' | 'labels'>): boolean {
  return annotations[HOLD_ANNOTATION] !== undefined || labels[HELD_LABEL] !== undefined;
}

function isRolledOut({ generation, replicas, paused, status }: Stored): boolean {
  return (
    !paused &&
    status.observedGeneration >= generation &&
    status.updatedReplicas === replicas &&
    status.replicas === replicas &&
    status.availableReplicas === replicas
  );
}

/** The moment of a timeline where this Deployment, with that image in its template, is held or is not. */
export function holding(name: string, image: string, held: boolean): (moment: Moment) => boolean {
  return ({ kind, name: changed, object }) =>
    kind === 'Deployment' &&
    changed === name &&
    imagesOf(object).includes(image) &&
    isHeld(parseDeployment(object)) === held;
}
