import assert from 'node:assert/strict';
import { asArray, asString, at } from '../../../src/json.ts';
import { type Deployment, deploy, isHeld } from '../../support/e2e/deployment.ts';
import type { Namespace } from '../../support/e2e/namespace.ts';
import { until } from '../../support/e2e/until.ts';
import type { OpenHold, ReleaseTold } from './history.ts';

const BEGUN_SECONDS = 60;
const ROLLED_OUT_SECONDS = 90;

/**
 * Four Deployments of one namespace. `web` and `api` get new images; `paused` is one that its user has paused; `missing` waits all
 * the time for an image that there is not.
 */
export interface Lane {
  readonly namespace: Namespace;
  /** Gives all of them something to be held for. Returns when the pulls are under way. */
  open(megabytes: number): Promise<OpenHold[]>;
  /** Names of the Deployments that are held. */
  held(): Promise<string[]>;
  releasesTold(): Promise<ReleaseTold[]>;
  /** Names of the Deployments whose ImagePreload tells of a failure. */
  failing(): Promise<string[]>;
  /** Why the pulls of the Deployment fail, on any node. */
  failuresOf(deployment: string): Promise<string[]>;
  /** Until those that should run run what they should. */
  rolledOut(): Promise<void>;
}

export async function createLane(namespace: Namespace): Promise<Lane> {
  const [web, api, paused, missing] = await Promise.all(
    ['web', 'api', 'paused', 'missing'].map((name) => deploy(namespace, name)),
  );
  if (web === undefined || api === undefined || paused === undefined || missing === undefined)
    throw new Error('four Deployments');
  const all = [web, api, paused, missing];
  const nowhere = `${namespace.lab.registry}/${namespace.name}:nowhere`;
  await namespace.kubectl('rollout', 'pause', 'deployment/paused');
  await missing.setImage(nowhere);
  let turn = 0;

  async function preloadOf(deployment: string) {
    // The one for the present template is the youngest.
    const owned = (await namespace.preloads()).filter(({ owner }) => owner?.name === deployment);
    return owned.toSorted((one, other) => other.createdAt - one.createdAt)[0];
  }

  async function failuresOf(deployment: string): Promise<string[]> {
    const failures = (await preloadOf(deployment))?.status?.failures ?? [];
    return failures.map(({ reason, message }) => `${reason}: ${message}`);
  }

  async function hold(deployment: Deployment, image: string): Promise<void> {
    await deployment.setImage(image);
    assert.ok(isHeld(await deployment.read()), `${deployment.name} is held`);
  }

  async function namesOf(which: (deployment: Deployment) => Promise<boolean>): Promise<string[]> {
    const chosen = await Promise.all(all.map(which));
    return all.filter((_, index) => chosen[index]).map(({ name }) => name);
  }

  const failing = () => namesOf(async ({ name }) => (await failuresOf(name)).length > 0);
  await until('the missing image is told', BEGUN_SECONDS, failing, (names) => names.includes('missing'));

  return {
    namespace,
    async open(megabytes) {
      turn += 1;
      const heavy = await namespace.pushSlow(`heavy-${turn}`, megabytes);
      const light = await namespace.pushSlow(`light-${turn}`, 1);
      await Promise.all([hold(web, heavy), hold(paused, heavy), hold(api, light)]);
      await until(
        'the pulls are under way',
        BEGUN_SECONDS,
        async () => (await preloadOf('web'))?.status,
        (status) => (status?.pullingNodes ?? 0) > 0,
      );
      return [
        { deployment: 'web', image: heavy, userPaused: false },
        { deployment: 'paused', image: heavy, userPaused: true },
        { deployment: 'api', image: light, userPaused: false },
        { deployment: 'missing', image: nowhere, userPaused: false },
      ];
    },
    held: () => namesOf(async (deployment) => isHeld(await deployment.read())),
    async releasesTold() {
      const list = await namespace.api.get(`/apis/events.k8s.io/v1/namespaces/${namespace.name}/events`);
      return asArray(at(list, 'items'))
        .filter((event) => at(event, 'reason') === 'RolloutReleased')
        .map((event) => ({
          deployment: asString(at(event, 'regarding', 'name')) ?? '',
          at: Date.parse(asString(at(event, 'eventTime')) ?? ''),
        }));
    },
    failing,
    failuresOf,
    async rolledOut() {
      await Promise.all([web.rolledOut(ROLLED_OUT_SECONDS), api.rolledOut(ROLLED_OUT_SECONDS)]);
    },
  };
}
