import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment, type Deployment as Stored } from '../../src/api/deployment.ts';
import { parseHold } from '../../src/api/hold.ts';
import {
  DECIDED_ANNOTATION,
  HOLD_ANNOTATION,
  PARALLELISM_ANNOTATION,
  REVISION_ANNOTATION,
} from '../../src/api/names.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import { asArray, asObject, asStringMap, at, type JsonObject } from '../../src/json.ts';
import type { CommandResult } from '../cluster/lab/command.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import {
  type Deployment,
  deploy,
  deploymentOf,
  holding,
  isHeld,
  manifestOf,
  replaceDeployment,
} from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import { isPullerPod, type Namespace } from '../support/e2e/namespace.ts';
import { suiteScope } from '../support/e2e/suite-scope.ts';
import { paste } from '../support/e2e/terminal.ts';
import { imagesOf, imagesOfReplicaSets, type Timeline } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

/** kubectl with this object as its file. */
async function send(namespace: Namespace, object: JsonObject, ...args: string[]): Promise<CommandResult> {
  const argv = ['-n', namespace.name, ...args, '-f', '-'];
  const result = await world.lab.kubectl(argv, { input: JSON.stringify(object), timeoutSeconds: 60 });
  assert.equal(result.code, 0, `kubectl ${args.join(' ')}: ${result.stderr}`);
  return result;
}

function pathOf(namespace: Namespace, name: string): string {
  return `/apis/apps/v1/namespaces/${namespace.name}/deployments/${name}`;
}

/** What the API server has, as a client that writes the whole object back would send it. */
async function readBack(namespace: Namespace, name: string, image: string): Promise<JsonObject> {
  const text = JSON.stringify(await world.api.get(pathOf(namespace, name)));
  const object = asObject(JSON.parse(text.replaceAll(`"${PAUSE_IMAGE}"`, `"${image}"`)));
  // Without it no status that is written in between makes this a conflict.
  const { resourceVersion: _, ...metadata } = asObject(object['metadata']);
  return { ...object, metadata };
}

function paused(object: JsonObject, value: boolean): JsonObject {
  return { ...object, spec: { ...asObject(object['spec']), paused: value } };
}

const FORCED = ['apply', '--server-side', '--force-conflicts'];

type Client = (namespace: Namespace, name: string, image: string) => Promise<CommandResult>;

/** Each gives the container of a Deployment another image. */
const CLIENTS: Readonly<Record<string, Client>> = {
  apply: (namespace, name, image) => send(namespace, manifestOf(name, { image }), 'apply'),
  'apply --server-side': (namespace, name, image) => send(namespace, manifestOf(name, { image }), ...FORCED),
  'set image': (namespace, name, image) =>
    namespace.kubectl('set', 'image', `deployment/${name}`, `app=${image}`),
  edit: (namespace, name, image) =>
    paste(
      world.lab,
      `EDITOR='sed -i s#${PAUSE_IMAGE}#${image}#' kubectl -n ${namespace.name} edit deployment ${name}`,
    ),
  'patch, strategic': (namespace, name, image) =>
    patch(namespace, name, 'strategic', containersWith([{ name: 'app', image }])),
  'patch, merge': (namespace, name, image) =>
    patch(namespace, name, 'merge', containersWith([{ name: 'app', image }])),
  'patch, json': (namespace, name, image) =>
    patch(namespace, name, 'json', [
      { op: 'replace', path: '/spec/template/spec/containers/0/image', value: image },
    ]),
  replace: (namespace, name, image) => send(namespace, manifestOf(name, { image }), 'replace'),
  'a PUT of what was read': async (namespace, name, image) =>
    replaceDeployment(namespace, await readBack(namespace, name, image)),
};

function containersWith(containers: readonly JsonObject[]): JsonObject {
  return { spec: { template: { spec: { containers } } } };
}

function patch(namespace: Namespace, name: string, type: string, body: unknown): Promise<CommandResult> {
  return namespace.kubectl('patch', 'deployment', name, '--type', type, '-p', JSON.stringify(body));
}

/** All that a user decides of a Deployment; the gate's own marks left out. */
function withoutMarks(object: JsonObject): JsonObject {
  const { paused: _, ...spec } = asObject(object['spec']);
  const { labels, annotations, generation } = asObject(object['metadata']);
  const ofTheUser = (map: unknown) =>
    Object.fromEntries(Object.entries(asStringMap(map)).filter(([key]) => !key.startsWith('pullgate.io/')));
  return { generation, labels: ofTheUser(labels), annotations: ofTheUser(annotations), spec };
}

describe('update with any client: apply (client or server side), `set image`, `edit`, `patch`, `replace`, a PUT [any-client]', {
  concurrency: true,
}, () => {
  let shop: Namespace;
  /** Not opted in: what the same requests store without the gate. */
  let ungated: Namespace;
  let image: string;
  let held: Timeline;
  let free: Timeline;
  const scope = suiteScope();

  before(async () => {
    [shop, ungated] = await Promise.all([world.namespace(scope), world.namespace(scope, {})]);
    // Only what is stored there matters.
    await ungated.kubectl('create', 'quota', 'no-pods', '--hard=pods=0');
    [held, free] = [shop.timeline(), ungated.timeline()];
    image = await shop.push('v2');
  });

  for (const [client, update] of Object.entries(CLIENTS)) {
    test(`${client}: held with the same marks and no other field changed, then released`, async () => {
      const name = client.replaceAll(/[^a-z]+/g, '-');
      const web = await deploy(shop, name);
      const { stderr } = await update(shop, name, image);
      assert.match(stderr, new RegExp(`^Warning: .*the rollout of ${shop.name}/${name} is held until`, 'm'));

      const isUpdated = (object: JsonObject) => imagesOf(object).includes(image);
      const { object } = await held.first(
        'the update',
        10,
        (moment) => moment.kind === 'Deployment' && moment.name === name && isUpdated(moment.object),
      );
      const stored = parseDeployment(object);
      const { annotations, labels, uid, template } = stored;
      assert.equal(stored.paused, true);
      assert.equal(labels['pullgate.io/held'], 'true');
      const hold = parseHold(annotations[HOLD_ANNOTATION]);
      assert.equal(hold?.uid, uid);
      assert.equal(hold.template, templateHash(template));
      assert.deepEqual(hold.from.images, { app: PAUSE_IMAGE });
      assert.equal(hold.userPaused, false);
      const decided = parseDecisionRecord(annotations[DECIDED_ANNOTATION]);
      assert.equal(decided?.decision, 'Held');
      assert.equal(decided.template, hold.template);
      assert.equal(decided.by, 'pullgate-lab-admin');

      await world.api.create(
        `/apis/apps/v1/namespaces/${ungated.name}/deployments`,
        manifestOf(name, { image: PAUSE_IMAGE }),
      );
      await until(
        'its controller has seen it',
        20,
        () => world.api.get(pathOf(ungated, name)),
        (twin) => at(twin, 'metadata', 'annotations', REVISION_ANNOTATION) === '1',
      );
      await update(ungated, name, image);
      const twin = await free.first(
        'the same update without the gate',
        10,
        (moment) => moment.kind === 'Deployment' && moment.name === name && isUpdated(moment.object),
      );
      // kubectl writes the namespace into last-applied-configuration.
      const expected = JSON.stringify(twin.object).replaceAll(ungated.name, shop.name);
      assert.deepEqual(withoutMarks(object), withoutMarks(asObject(JSON.parse(expected))));

      await web.released(60);
      await web.rolledOut(60);
    });
  }
});

describe('scale, or the autoscaler does, during a hold [scale-while-held]', () => {
  let shop: Namespace;
  let web: Deployment;
  let timeline: Timeline;
  let begun: Stored;
  const scope = suiteScope();

  before(async () => {
    shop = await world.namespace(scope);
    timeline = shop.timeline();
    web = await deploy(shop, 'web');
    // Held for as long as this takes.
    await web.setImage(`${world.lab.registry}/${shop.name}:missing`);
    begun = await web.read();
    assert.ok(isHeld(begun));
  });

  async function scaledTo(replicas: number, { stderr }: CommandResult): Promise<void> {
    assert.doesNotMatch(stderr, /pullgate/);
    assert.equal((await web.read()).replicas, replicas);
    const scaled = await until(
      `${replicas} pods serve`,
      30,
      web.read,
      ({ status }) => status.availableReplicas === replicas && status.replicas === replicas,
    );
    assert.equal(scaled.annotations[HOLD_ANNOTATION], begun.annotations[HOLD_ANNOTATION]);
    assert.equal(scaled.paused, true);
    assert.deepEqual(imagesOfReplicaSets(timeline), [PAUSE_IMAGE]);
  }

  test('kubectl scale: goes through at once, with pods of what runs', async () => {
    await scaledTo(3, await shop.kubectl('scale', 'deployment/web', '--replicas=3'));
  });

  test('a PUT to the scale subresource, as the autoscaler sends it: the same', async () => {
    const metadata = { name: 'web', namespace: shop.name };
    const scale = { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata, spec: { replicas: 2 } };
    await scaledTo(2, await send(shop, scale, 'replace', '--raw', `${pathOf(shop, 'web')}/scale`));
  });

  test('the release leaves the number as it is then', async () => {
    await web.setImage(await shop.push('v3'));
    assert.equal((await web.rolledOut(60)).replicas, 2);
  });
});

describe('apply again, unchanged, while held [apply-unchanged]', { concurrency: true }, () => {
  for (const apply of [['apply'], FORCED]) {
    test(`kubectl ${apply.join(' ')}: the same generation, hold and preload`, async (t) => {
      const shop = await world.namespace(t);
      const timeline = shop.timeline();
      const web = await deploy(shop, 'web');
      const wanted = manifestOf('web', { image: `${world.lab.registry}/${shop.name}:missing` });
      await send(shop, wanted, ...apply);
      const begun = await web.read();
      assert.ok(isHeld(begun));
      const [preload] = await until('its preload', 10, shop.preloads, ({ length }) => length === 1);

      for (let again = 1; again <= 2; again += 1) {
        const { stderr } = await send(shop, wanted, ...apply);
        // Client-side apply sees no difference and sends nothing.
        if (apply.length > 1) assert.match(stderr, /\/web is still held \(\d+ s so far\): .*; see: kubectl /);
        else assert.doesNotMatch(stderr, /pullgate/);
      }
      const { generation, annotations, labels, paused: stays } = await web.read();
      assert.deepEqual(
        { generation, annotations, labels, paused: stays },
        {
          generation: begun.generation,
          annotations: begun.annotations,
          labels: begun.labels,
          paused: true,
        },
      );

      await send(shop, manifestOf('web'), ...apply);
      assert.equal(isHeld(await web.read()), false);
      await until(
        'the end of the hold is told',
        10,
        () => shop.events('web'),
        (all) => all.some(({ reason }) => reason === 'HoldReverted'),
      );
      const uids = timeline.of('ImagePreload').map(({ object }) => at(object, 'metadata', 'uid'));
      assert.deepEqual([...new Set(uids)], [preload?.uid]);
    });
  }
});

describe('ask for `paused: false` while held: apply, `rollout resume`, a PUT without any mark of the gate [unpause-while-held]', () => {
  let shop: Namespace;
  let web: Deployment;
  let timeline: Timeline;
  let image: string;
  let begun: Stored;
  let preload: string;
  const scope = suiteScope();

  before(async () => {
    shop = await world.namespace(scope);
    timeline = shop.timeline();
    web = await deploy(shop, 'web');
    image = `${world.lab.registry}/${shop.name}:missing`;
    await web.setImage(image);
    begun = await web.read();
    const [made] = await until('its preload', 10, shop.preloads, ({ length }) => length === 1);
    preload = made?.name ?? '';
  });

  const requests: Readonly<Record<string, () => Promise<CommandResult>>> = {
    apply: () => send(shop, paused(manifestOf('web', { image }), false), 'apply'),
    'apply --server-side': () => send(shop, paused(manifestOf('web', { image }), false), ...FORCED),
    'rollout resume': () => shop.kubectl('rollout', 'resume', 'deployment/web'),
    'a PUT without any mark of the gate': () => replaceDeployment(shop, manifestOf('web', { image })),
  };
  for (const [request, ask] of Object.entries(requests)) {
    test(`${request}: held again, and the warning says for how long, where to look, and the two ways out`, async () => {
      const { stderr } = await ask();
      // kubectl has warnings of its own, before and after.
      const lines = stderr.split('\n');
      const first = lines.findIndex((line) => line.includes('pullgate:'));
      const state = lines[first] ?? '';
      // Between them may stand why the image cannot be had.
      const [through = '', back = ''] = lines.slice(first + 1).filter((line) => !line.includes('pullgate:'));
      assert.match(state, /\/web is still held \(\d+ s so far\); it stays paused until its nodes have/);
      assert.ok(state.endsWith(`watch: kubectl -n ${shop.name} get ipl ${preload} -w`), state);
      assert.match(through, /^Warning: Release it now: kubectl /);
      assert.match(back, /^Warning: Go back: kubectl /);

      const stored = await web.read();
      assert.equal(stored.paused, true);
      assert.equal(stored.labels['pullgate.io/held'], 'true');
      for (const mark of [HOLD_ANNOTATION, DECIDED_ANNOTATION])
        assert.equal(stored.annotations[mark], begun.annotations[mark], mark);
      const unpaused = timeline
        .of('Deployment')
        .filter(({ object }) => imagesOf(object).includes(image))
        .filter(({ object }) => at(object, 'spec', 'paused') !== true);
      assert.deepEqual(unpaused, [], 'not for a moment');
    });
  }

  test('released in the end as any hold', async () => {
    const v3 = await shop.push('v3');
    await web.setImage(v3);
    assert.equal(isHeld(await web.rolledOut(60)), false);
    assert.deepEqual(imagesOfReplicaSets(timeline).toSorted(), [PAUSE_IMAGE, v3].toSorted());
  });
});

describe('change the image while no pod is ready [nothing-serves]', { concurrency: true }, () => {
  test('the hold ends with the first ready node', async (t) => {
    const shop = await world.namespace(t);
    const manifest = manifestOf('web', { image: `${world.lab.registry}/${shop.name}:missing` });
    // One node after the other: the second one is not asked before the first one is ready.
    const annotations = { [PARALLELISM_ANNOTATION]: '1' };
    await shop.apply({ ...manifest, metadata: { ...asObject(manifest['metadata']), annotations } });
    const web = deploymentOf(shop, 'web');
    await until('its controller has seen it', 20, web.read, ({ status }) => status.observedGeneration > 0);
    assert.match((await web.setImage(await shop.push('v2'))).stderr, /is held until/);
    await web.released(30);
    const { note, type } = await told(shop, 'web', 'RolloutReleased');
    assert.equal(type, 'Warning');
    assert.match(
      note,
      /\(NothingServes\): no pod of this Deployment is ready.*; 1 of 2 nodes have its images$/,
    );
    await web.rolledOut(60);
  });

  test('a missing image is held all the same', async (t) => {
    const shop = await world.namespace(t);
    await shop.apply(manifestOf('web', { image: `${world.lab.registry}/${shop.name}:missing` }));
    const web = deploymentOf(shop, 'web');
    await until('its controller has seen it', 20, web.read, ({ status }) => status.observedGeneration > 0);
    await web.setImage(`${world.lab.registry}/${shop.name}:missing-too`);
    await told(shop, 'web', 'PreloadFailed', 30);
    assert.ok(isHeld(await web.read()));
  });
});

describe('scale to zero while held, and up again [scale-to-zero]', { concurrency: true }, () => {
  const scale = (shop: Namespace, replicas: number) =>
    shop.kubectl('scale', 'deployment/web', `--replicas=${replicas}`);

  test('the hold ends at zero, and the new version starts', async (t) => {
    const shop = await world.namespace(t);
    const timeline = shop.timeline();
    const web = await deploy(shop, 'web');
    const image = await shop.pushSlow('v2', 40);
    await web.setImage(image);
    await scale(shop, 0);
    await web.released(10);
    const { note, type } = await told(shop, 'web', 'RolloutReleased');
    assert.equal(type, 'Normal');
    assert.match(note, /\(ScaledToZero\): no pod is wanted, so the next scale-up starts the new version$/);
    await until('no pod is left', 30, web.read, ({ status }) => status.replicas === 0);
    const before = timeline.of('Pod').length;
    await scale(shop, 2);
    await web.rolledOut(90);
    const started = timeline
      .of('Pod')
      .slice(before)
      .filter(
        ({ object }) => !isPullerPod(object) && at(object, 'metadata', 'deletionTimestamp') === undefined,
      );
    assert.deepEqual(new Set(started.flatMap(({ object }) => podImages(object))), new Set([image]));
  });

  test('a missing image stays held at zero; another image ends the hold', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await web.setImage(`${world.lab.registry}/${shop.name}:missing`);
    await told(shop, 'web', 'PreloadFailed', 30);
    await scale(shop, 0);
    await until('no pod is left', 30, web.read, ({ status }) => status.replicas === 0);
    assert.ok(isHeld(await web.read()));
    const image = await shop.push('v2');
    await web.setImage(image);
    await web.released(10);
    await scale(shop, 1);
    await web.rolledOut(60);
  });
});

function podImages(pod: JsonObject): string[] {
  return asArray(at(pod, 'spec', 'containers')).map((container) => String(at(container, 'image')));
}

describe('paused the Deployment before, or ask for `pullgate.io/keep-paused` during the hold [keep-paused]', {
  concurrency: true,
}, () => {
  const isRelease = ({ reason }: { readonly reason: string }) => reason === 'RolloutReleased';
  const ways: Readonly<Record<string, (shop: Namespace, update: () => Promise<unknown>) => Promise<void>>> = {
    'paused before': async (shop, update) => {
      await shop.kubectl('rollout', 'pause', 'deployment/web');
      await update();
    },
    'asked for during the hold': async (shop, update) => {
      await update();
      const { stderr } = await shop.kubectl('annotate', 'deployment', 'web', 'pullgate.io/keep-paused=true');
      assert.match(stderr, /is still held \(/);
    },
  };
  for (const [way, pause] of Object.entries(ways)) {
    test(`${way}: outlives the hold, and a resume then starts the preloaded rollout at once`, async (t) => {
      const shop = await world.namespace(t);
      const image = await shop.pushSlow('v2', 40);
      const web = await deploy(shop, 'web');
      const timeline = shop.timeline();
      await pause(shop, () => web.setImage(image));
      assert.ok(isHeld(await web.read()));

      const released = await web.released(60);
      assert.equal(released.paused, true, 'the pause is the users');
      for (const node of world.lab.nodes()) {
        assert.ok((await world.lab.nodeImages(node)).includes(image), `${node} has it`);
      }
      const events = await until(
        'it is told',
        10,
        () => shop.events('web'),
        (all) => all.some(isRelease),
      );
      assert.match(events.find(isRelease)?.note ?? '', /stays paused, as requested/);
      assert.deepEqual(imagesOfReplicaSets(timeline), [PAUSE_IMAGE], 'nothing has begun');

      const { stderr } = await shop.kubectl('rollout', 'resume', 'deployment/web');
      assert.doesNotMatch(stderr, /pullgate/);
      const resumed = await web.read();
      assert.equal(isHeld(resumed), false);
      assert.equal(resumed.paused, false);
      await web.rolledOut(60);
      await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
      const pullers = timeline
        .of('Pod')
        .filter(({ type, object }) => type === 'ADDED' && isPullerPod(object));
      assert.equal(pullers.length, world.lab.nodes().length, 'no second preload');
    });
  }

  test('paused before: ends with the hold if the user resumes meanwhile, and not before', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 40);
    const timeline = shop.timeline();
    const web = await deploy(shop, 'web');
    await shop.kubectl('rollout', 'pause', 'deployment/web');
    await web.setImage(image);
    const { stderr } = await shop.kubectl('rollout', 'resume', 'deployment/web');
    assert.match(stderr, /is still held \(\d+ s so far\); it stays paused/);
    const stored = await web.read();
    assert.ok(isHeld(stored));
    assert.equal(stored.paused, true);
    const { object } = await timeline.first('its release', 60, holding('web', image, false));
    assert.equal(parseDeployment(object).paused, false);
    await web.rolledOut(60);
  });
});

describe('dry run, on the client or the server [dry-run]', { concurrency: true }, () => {
  const commands: Readonly<
    Record<string, (shop: Namespace, image: string, ...flags: string[]) => Promise<CommandResult>>
  > = {
    'set image': (shop, image, ...flags) =>
      shop.kubectl('set', 'image', 'deployment/web', `app=${image}`, ...flags),
    apply: (shop, image, ...flags) => send(shop, manifestOf('web', { image }), 'apply', ...flags),
    'apply --server-side': (shop, image, ...flags) =>
      send(shop, manifestOf('web', { image }), ...FORCED, ...flags),
  };
  for (const [command, run] of Object.entries(commands)) {
    test(`${command}: the answer of the real one, and nothing comes of it`, async (t) => {
      const shop = await world.namespace(t);
      const image = await shop.push('v2');
      const [web, other] = await Promise.all([deploy(shop, 'web'), deploy(shop, 'other')]);
      const stored = await web.read();

      const dry = await run(shop, image, '--dry-run=server', '-o', 'json');
      // Server-side apply has no dry run on the client.
      if (command !== 'apply --server-side') {
        const onClient = await run(shop, image, '--dry-run=client');
        assert.match(onClient.stdout, /\(dry run\)/);
        assert.doesNotMatch(onClient.stderr, /pullgate/, 'nobody was asked');
      }

      // The gate has seen all that came before by the time that it has gone on with this one.
      await other.setImage(image);
      await until(
        'another one is preloaded',
        20,
        () => shop.events('other'),
        (all) => all.some(({ reason }) => reason === 'PreloadStarted'),
      );
      assert.deepEqual(
        (await shop.preloads()).map(({ owner }) => owner?.name),
        ['other'],
      );
      assert.deepEqual(await shop.events('web'), []);
      const { generation, annotations, labels, template } = await web.read();
      assert.deepEqual(
        { generation, annotations, labels, template },
        {
          generation: stored.generation,
          annotations: stored.annotations,
          labels: stored.labels,
          template: stored.template,
        },
      );

      const real = await run(shop, image, '-o', 'json');
      assert.match(real.stderr, /is held until its nodes have/);
      assert.equal(withoutTimes(dry.stderr), withoutTimes(real.stderr));
      assert.ok(isHeld(parseDeployment(JSON.parse(real.stdout))));
      assert.deepEqual(answered(dry), answered(real));
      await web.released(60);
    });
  }

  test('going back, or a bypass, while held: the hold stays', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await web.setImage(`${world.lab.registry}/${shop.name}:missing`);
    const begun = await web.read();
    const toBack = ['set', 'image', 'deployment/web', `app=${PAUSE_IMAGE}`];
    const back = await shop.kubectl(...toBack, '--dry-run=server');
    assert.match(back.stderr, /the hold of \S+\/web has ended/);
    const bypass = ['annotate', 'deployment', 'web', 'pullgate.io/bypass=why'];
    const through = await shop.kubectl(...bypass, '--dry-run=server');
    assert.match(through.stderr, /starts before its nodes have the images, because of the bypass: why/);
    const { generation, annotations } = await web.read();
    assert.deepEqual(
      { generation, annotations },
      { generation: begun.generation, annotations: begun.annotations },
    );

    await shop.kubectl(...toBack);
    const events = await until(
      'the real one is told',
      10,
      () => shop.events('web'),
      (all) => all.some(({ reason }) => reason === 'HoldReverted'),
    );
    assert.equal(events.filter(({ reason }) => reason === 'HoldReverted').length, 1);
    assert.ok(!events.some(({ reason }) => reason === 'HoldBypassed'));
  });
});

function withoutTimes(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'then');
}

/** The object of an answer, without what tells one write from another. */
function answered({ stdout }: CommandResult): unknown {
  const object = asObject(JSON.parse(withoutTimes(stdout)));
  const { resourceVersion: _, managedFields: __, ...metadata } = asObject(object['metadata']);
  return { metadata, spec: object['spec'] };
}
