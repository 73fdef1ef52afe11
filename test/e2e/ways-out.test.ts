import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { BYPASS_ANNOTATION, HELD_LABEL, MODE_LABEL, REVERT_ANNOTATION } from '../../src/api/names.ts';
import type { JsonObject } from '../../src/json.ts';
import type { CommandResult } from '../cluster/lab/command.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { type Deployment, deploy, isHeld, manifestOf } from '../support/e2e/deployment.ts';
import { startGate } from '../support/e2e/gate-process.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace, Scope, ToldEvent } from '../support/e2e/namespace.ts';
import { paste } from '../support/e2e/terminal.ts';
import { imagesOf } from '../support/e2e/timeline.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();

/** A hold for as long as nothing ends it. */
function missingImage(namespace: Namespace): string {
  return `${world.lab.registry}/${namespace.name}:missing`;
}

async function isLetGo(deployment: Deployment, image: string): Promise<void> {
  const stored = await deployment.read();
  assert.equal(isHeld(stored), false);
  assert.equal(stored.paused, false);
  assert.deepEqual(imagesOf({ spec: { template: stored.template } }), [image]);
}

async function staysHeld(deployment: Deployment): Promise<void> {
  const stored = await deployment.read();
  assert.equal(isHeld(stored), true);
  assert.equal(stored.paused, true);
}

function patchOf(image: string, metadata: JsonObject): string {
  return JSON.stringify({ metadata, spec: { template: { spec: { containers: [{ name: 'app', image }] } } } });
}

const patchWeb = ['patch', 'deployment', 'web', '-p'];

describe('set a bypass, or `off` [bypass-or-off]', () => {
  describe('by anyone who may edit the Deployment', { concurrency: true }, () => {
    test('a bypass in the same update: not held at all, and it was for that update alone', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await grant(t, shop, 'deployer');
      const image = await shop.push('v2');
      const bypass = patchOf(image, { annotations: { [BYPASS_ANNOTATION]: 'incident 42' } });
      const { stderr } = await shop.kubectl('--as=deployer', ...patchWeb, bypass);
      assert.match(stderr, /starts before its nodes have the images, because of the bypass: incident 42/);
      await isLetGo(web, image);
      const { type, note } = await told(shop, 'web', 'HoldBypassed');
      assert.equal(type, 'Warning');
      assert.equal(note, 'released by deployer without waiting: incident 42');
      await web.rolledOut(60);
      assert.deepEqual(await shop.preloads(), []);

      const next = missingImage(shop);
      const again = patchOf(next, { annotations: { [BYPASS_ANNOTATION]: 'incident 42' } });
      assert.match((await shop.kubectl(...patchWeb, again)).stderr, /is held until/);
      await staysHeld(web);
      await shop.kubectl('annotate', 'deployment', 'web', `${BYPASS_ANNOTATION}=incident 42`, '--overwrite');
      await staysHeld(web);
      await shop.kubectl('annotate', 'deployment', 'web', `${BYPASS_ANNOTATION}=incident 43`, '--overwrite');
      await isLetGo(web, next);
    });

    test('`off` in the same update: not held, nor any later update until the label is gone', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await grant(t, shop, 'deployer');
      const image = await shop.push('v2');
      const off = patchOf(image, { labels: { [MODE_LABEL]: 'off' } });
      const { stderr } = await shop.kubectl('--as=deployer', ...patchWeb, off);
      assert.match(stderr, /is opted out: label pullgate\.io\/mode=off/);
      await isLetGo(web, image);
      const { type, note } = await told(shop, 'web', 'GateOptedOut');
      assert.equal(type, 'Warning');
      assert.equal(note, 'opted out by deployer: label pullgate.io/mode=off');
      const v3 = await shop.push('v3');
      assert.doesNotMatch((await web.setImage(v3)).stderr, /pullgate/);
      await isLetGo(web, v3);
      await web.rolledOut(60);

      await shop.kubectl('label', 'deployment', 'web', `${MODE_LABEL}-`);
      await web.setImage(missingImage(shop));
      await staysHeld(web);
      assert.equal((await shop.events('web')).filter(({ reason }) => reason === 'GateOptedOut').length, 1);
    });

    test('`off` while held: let go in that same request', async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await web.setImage(missingImage(shop));
      await staysHeld(web);
      const { stderr } = await shop.kubectl('label', 'deployment', 'web', `${MODE_LABEL}=off`);
      assert.match(stderr, /is opted out: label pullgate\.io\/mode=off/);
      await isLetGo(web, missingImage(shop));
      const { note } = await told(shop, 'web', 'GateOptedOut');
      assert.equal(note, 'opted out by pullgate-lab-admin: label pullgate.io/mode=off');
    });
  });

  describe('with --bypass-needs-permission', () => {
    test('only who may `bypass` the ImagePreloads of the namespace', async (t) => {
      await world.gate.stop();
      world.gate = await startGate(world.lab, { flags: ['--bypass-needs-permission'] });
      const shop = await world.namespace(t);
      const [web, quiet] = await Promise.all([deploy(shop, 'web'), deploy(shop, 'quiet')]);
      await grant(t, shop, 'deployer');
      await grant(t, shop, 'on-call', 'bypass');
      const image = missingImage(shop);

      const urgent = patchOf(image, { annotations: { [BYPASS_ANNOTATION]: 'in a hurry' } });
      const begun = await shop.kubectl('--as=deployer', ...patchWeb, urgent);
      assert.match(begun.stderr, /the rollout of \S+\/web is held until/);
      assert.match(begun.stderr, /the bypass was refused: this user may not bypass/);
      await staysHeld(web);
      const bypass = (name: string, user: string) =>
        shop.kubectl(
          `--as=${user}`,
          'annotate',
          'deployment',
          name,
          `${BYPASS_ANNOTATION}=requested by ${user}`,
          '--overwrite',
        );
      const { stderr } = await bypass('web', 'deployer');
      assert.match(stderr, /\/web is still held \(\d+ s so far\); it stays paused/);
      assert.match(stderr, /the bypass was refused: this user may not bypass/);
      await staysHeld(web);

      const off = (name: string, user: string) =>
        shop.tryKubectl(`--as=${user}`, 'label', 'deployment', name, `${MODE_LABEL}=off`);
      const denied = await off('web', 'deployer');
      assert.equal(denied.code, 1);
      assert.match(denied.stderr, /deployer may not opt a Deployment out/);
      assert.equal((await web.read()).labels[MODE_LABEL], undefined);
      await staysHeld(web);
      const offAtOnce = patchOf(image, { labels: { [MODE_LABEL]: 'off' } });
      const notAtOnce = await shop.tryKubectl(
        '--as=deployer',
        'patch',
        'deployment',
        'quiet',
        '-p',
        offAtOnce,
      );
      assert.equal(notAtOnce.code, 1);
      assert.match(notAtOnce.stderr, /deployer may not opt a Deployment out/);
      await isLetGo(quiet, PAUSE_IMAGE);

      await bypass('web', 'on-call');
      await isLetGo(web, image);
      const bypassed = await told(shop, 'web', 'HoldBypassed');
      assert.equal(bypassed.note, 'released by on-call without waiting: requested by on-call');
      await quiet.setImage(image);
      await staysHeld(quiet);
      assert.equal((await off('quiet', 'on-call')).code, 0);
      await isLetGo(quiet, image);
      const optedOut = await told(shop, 'quiet', 'GateOptedOut');
      assert.equal(optedOut.note, 'opted out by on-call: label pullgate.io/mode=off');
    });
  });
});

/** Lets a user edit Deployments in the namespace, and bypass the gate there if so asked. */
async function grant(scope: Scope, namespace: Namespace, user: string, bypass?: 'bypass'): Promise<void> {
  const edit = { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', 'list', 'patch', 'update'] };
  const { name } = namespace;
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  const role = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: user },
    rules: [edit],
  };
  await world.api.create(`${rbac}/namespaces/${name}/roles`, role);
  const bind = (kind: string, roleName: string) =>
    world.api.create(`${rbac}/namespaces/${name}/rolebindings`, {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: `${user}-${kind.toLowerCase()}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: roleName },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
    });
  await bind('Role', user);
  if (bypass === undefined) return;
  const clusterRole = `${name}-bypass`;
  await world.api.create(`${rbac}/clusterroles`, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: clusterRole },
    rules: [{ apiGroups: ['pullgate.io'], resources: ['imagepreloads'], verbs: [bypass] }],
  });
  scope.after(() => world.api.delete(`${rbac}/clusterroles/${clusterRole}`));
  await bind('ClusterRole', clusterRole);
}

function commandAfter(title: string, { stderr }: CommandResult): string {
  const line = stderr.split('\n').find((text) => text.startsWith(`Warning: ${title}: `));
  assert.ok(line, stderr);
  return line.slice(`Warning: ${title}: `.length);
}

describe('go back with `pullgate.io/revert` [revert]', { concurrency: true }, () => {
  /** Another image, and another environment. */
  const both = (image: string) =>
    JSON.stringify({
      spec: {
        template: { spec: { containers: [{ name: 'app', image, env: [{ name: 'V', value: '2' }] }] } },
      },
    });

  test('what runs is restored, whole, and the command of the warning does it', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const { template } = await web.read();
    const held = await shop.kubectl(...patchWeb, both(missingImage(shop)));
    await staysHeld(web);
    const back = commandAfter('Go back', held);
    assert.match(back, / annotate deployment web pullgate\.io\/revert=/);
    const { stderr } = await paste(world.lab, back);
    assert.match(stderr, /the hold of \S+\/web has ended: back to the running template, whole: /);
    const stored = await web.read();
    assert.equal(isHeld(stored), false);
    assert.equal(stored.paused, false);
    assert.deepEqual(stored.template, template);
    assert.equal(stored.annotations[REVERT_ANNOTATION], undefined);
    const { note } = await told(shop, 'web', 'HoldReverted');
    assert.match(note, /^hold ended by pullgate-lab-admin: back to the running template, whole: /);
    await web.rolledOut(20);
    assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
  });

  test('in a namespace whose mode is reject by now: the same', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const { template } = await web.read();
    await shop.kubectl(...patchWeb, both(missingImage(shop)));
    await world.lab.kubectl(['label', 'namespace', shop.name, `${MODE_LABEL}=reject`, '--overwrite']);
    await shop.kubectl('annotate', 'deployment', 'web', `${REVERT_ANNOTATION}=v2 is broken`);
    const stored = await web.read();
    assert.equal(isHeld(stored), false);
    assert.deepEqual(stored.template, template);
  });

  test('it is refused with words if the ReplicaSet is gone', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await shop.kubectl(...patchWeb, both(missingImage(shop)));
    await shop.kubectl('delete', 'replicaset', '--all', '--cascade=orphan');
    const { code, stderr } = await shop.tryKubectl('annotate', 'deployment', 'web', `${REVERT_ANNOTATION}=x`);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /\/web stays held: no ReplicaSet has the running template any more\. Apply the previous/,
    );
    await staysHeld(web);
    assert.equal((await web.read()).annotations[REVERT_ANNOTATION], undefined);
  });

  test('a template with other changes that needs no new image says that its rollout starts now', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await shop.kubectl(...patchWeb, both(missingImage(shop)));
    const { stderr } = await web.setImage(PAUSE_IMAGE);
    assert.match(
      stderr,
      /has ended: the template needs no new image, but differs .*; its rollout starts now/,
    );
    await web.rolledOut(60);
  });
});

describe('switch off while the image is known to be unavailable [off-with-bad-image]', {
  concurrency: true,
}, () => {
  async function failed(shop: Namespace): Promise<void> {
    const web = await deploy(shop, 'web');
    await web.setImage(missingImage(shop));
    await told(shop, 'web', 'PreloadFailed', 30);
    const isTold = ({ status }: { status: { progressing?: { reason: string } } }) =>
      status.progressing?.reason === 'ProgressDeadlineExceeded';
    await until('rollout status fails', 10, web.read, isTold);
  }

  test('by the label of the Deployment: the warning says so', async (t) => {
    const shop = await world.namespace(t);
    await failed(shop);
    const { stderr } = await shop.kubectl('label', 'deployment', 'web', `${MODE_LABEL}=off`);
    assert.match(stderr, /its image is known to be unavailable: .*:missing: not found \(NotFound\)/);
  });

  test('by the label of the namespace: the event says so', async (t) => {
    const shop = await world.namespace(t);
    await failed(shop);
    await world.lab.kubectl(['label', 'namespace', shop.name, `${MODE_LABEL}-`]);
    const { type, note } = await told(shop, 'web', 'RolloutReleased');
    assert.equal(type, 'Warning');
    assert.match(note, /\(OptedOut\): .*its image is known to be unavailable: .*:missing: not found/);
  });

  test('by a server-side apply while held, nothing ends, and the warning says why it failed', async (t) => {
    const shop = await world.namespace(t);
    await failed(shop);
    const manifest = manifestOf('web', { image: missingImage(shop) });
    const { stderr } = await world.lab.kubectl(
      ['-n', shop.name, 'apply', '--server-side', '--force-conflicts', '-f', '-'],
      { input: JSON.stringify(manifest) },
    );
    assert.match(stderr, /is still held \(\d+ s so far\): .*:missing: not found \(NotFound\)/);
  });
});

describe('paste the commands of the warning or of an event [pasted-commands]', { concurrency: true }, () => {
  test('the warning of a hold: lets the rollout through at once, without its image on the nodes', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 60);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const held = await web.setImage(image);
    await staysHeld(web);

    const { stderr } = await paste(world.lab, commandAfter('Release it now', held));
    assert.match(stderr, /starts before its nodes have the images, because of the bypass: urgent/);
    await isLetGo(web, image);
    await timeline.first(
      'the rollout begins',
      10,
      ({ kind, object }) => kind === 'ReplicaSet' && imagesOf(object).includes(image),
    );
    assert.ok(!(await world.lab.nodeImages('node-1')).includes(image), 'still being pulled');
    const { note, type } = await told(shop, 'web', 'HoldBypassed');
    assert.equal(type, 'Warning');
    assert.match(note, /released by pullgate-lab-admin .*: urgent/);
    await web.rolledOut(60);
  });

  test('the warning of a hold: goes back to what runs', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    const held = await web.setImage(missingImage(shop));

    await paste(world.lab, commandAfter('Go back', held));
    await isLetGo(web, PAUSE_IMAGE);
    await web.rolledOut(20);
    assert.equal(new Set(timeline.of('ReplicaSet').map(({ name }) => name)).size, 1);
  });

  test('the warning of a hold: shows how far the preload is', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const { stderr } = await web.setImage(missingImage(shop));
    const command = /watch: (kubectl \S+ \S+ get ipl \S+) -w$/m.exec(stderr)?.[1];
    assert.ok(command, stderr);
    await until('the preload is there', 10, shop.preloads, ({ length }) => length === 1);
    const { stdout } = await paste(world.lab, command);
    assert.match(stdout, /^NAME +PHASE +READY +FAILED +IMAGES +AGE/);
  });

  for (const [way, image] of [
    ['Release it now', missingImage],
    ['Go back', () => PAUSE_IMAGE],
  ] as const) {
    test(`the warning of a resume while held: ${way}`, async (t) => {
      const shop = await world.namespace(t);
      const web = await deploy(shop, 'web');
      await web.setImage(missingImage(shop));
      const resumed = await shop.kubectl('rollout', 'resume', 'deployment/web');
      await staysHeld(web);
      await paste(world.lab, commandAfter(way, resumed));
      await isLetGo(web, image(shop));
    });
  }

  test('the events of a hold, of one that supersedes it, and of a release that stays paused', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await shop.kubectl('rollout', 'pause', 'deployment/web');
    await web.setImage(missingImage(shop));
    const held = await told(shop, 'web', 'RolloutHeld');
    await told(shop, 'web', 'PreloadFailed');
    await showsPreload(shop, held);

    const image = await shop.push('v2');
    await web.setImage(image);
    await showsPreload(shop, await told(shop, 'web', 'HoldSuperseded'));

    const released = await told(shop, 'web', 'RolloutReleased');
    await paste(world.lab, commandIn(released));
    assert.equal((await web.rolledOut(60)).paused, false);
    // Those of a failure: explains-itself.test.ts.
    const inEvents = (await shop.events('web')).filter(
      ({ type, note }) => type === 'Normal' && note.includes('kubectl'),
    );
    assert.deepEqual(
      inEvents.map(({ reason }) => reason).sort(),
      ['HoldSuperseded', 'RolloutHeld', 'RolloutReleased'],
      'every command in an event was pasted',
    );
  });
});

/** The last command of an event is the end of its note. */
function commandIn({ note }: ToldEvent): string {
  const command = /kubectl [^;]*$/.exec(note)?.[0];
  assert.ok(command, note);
  return command;
}

async function showsPreload(namespace: Namespace, event: ToldEvent): Promise<void> {
  const name = event.related.replace('ImagePreload/', '');
  await until('it is made', 10, namespace.preloads, (all) => all.some((preload) => preload.name === name));
  const { stdout } = await paste(world.lab, commandIn(event));
  assert.match(stdout, new RegExp(`^NAME +PHASE +READY +FAILED +IMAGES +AGE.*\n${name} `));
}

describe('resume the rollout while the gate is down [resume-ungated]', () => {
  test('it goes on ungated; the gate, back again, drops the hold, says so, and never pauses it', async (t) => {
    const shop = await world.namespace(t);
    const image = await shop.pushSlow('v2', 60);
    const web = await deploy(shop, 'web');
    const timeline = shop.timeline();
    await web.setImage(image);
    await told(shop, 'web', 'PreloadStarted');

    await world.gate.kill9();
    await staysHeld(web);
    const { stderr } = await shop.kubectl('rollout', 'resume', 'deployment/web');
    assert.doesNotMatch(stderr, /pullgate/);
    const resumed = await web.read();
    assert.equal(resumed.paused, false);
    assert.equal(isHeld(resumed), true, 'nobody was there to take it off');
    const { at: begun } = await timeline.first(
      'the rollout begins',
      10,
      ({ kind, object }) => kind === 'ReplicaSet' && imagesOf(object).includes(image),
    );

    world.gate = await startGate(world.lab);
    await web.released(10);
    const { type, note } = await told(shop, 'web', 'UngatedRollout');
    assert.equal(type, 'Warning');
    assert.match(note, /resumed while Pullgate was unavailable/);
    const done = await web.rolledOut(60);
    assert.equal(isHeld(done), false);
    const paused = timeline
      .of('Deployment', 'web')
      .filter(({ at, object }) => at >= begun && JSON.stringify(object).includes('"paused":true'));
    assert.deepEqual(paused, []);
    await until('the puller pods go', 30, shop.pullerPods, ({ length }) => length === 0);
    const reasons = (await shop.events('web')).map(({ reason }) => reason);
    assert.ok(!reasons.includes('RolloutReleased'), reasons.join());
    assert.equal(reasons.filter((reason) => reason === 'UngatedRollout').length, 1);

    await web.setImage(missingImage(shop));
    await staysHeld(web);
  });
});

describe('lose the gate for good [free-all-holds]', () => {
  test('the commands of the documentation free every hold, and what its owner paused stays paused', async (t) => {
    const [shop, store] = await Promise.all([world.namespace(t), world.namespace(t)]);
    const [web, before, during, api] = await Promise.all([
      deploy(shop, 'web'),
      deploy(shop, 'paused-before'),
      deploy(shop, 'paused-during'),
      deploy(store, 'api'),
    ]);
    const deployments = [web, before, during, api];
    await shop.kubectl('rollout', 'pause', 'deployment/paused-before');
    // Values of many lines and with quotes, as kubectl itself writes them.
    await shop.kubectl('annotate', 'deployment', 'web', 'note="userPaused":true\nother line {}\n');
    const image = missingImage(shop);
    for (const deployment of deployments) await deployment.setImage(image);
    await shop.kubectl('annotate', 'deployment', 'paused-during', 'pullgate.io/keep-paused=true');
    await world.gate.kill9();
    for (const deployment of deployments) await staysHeld(deployment);
    const names = deployments.map(({ name }) => name).toSorted();
    // Those of earlier tests go with their namespaces, at any moment.
    await until('no other holds', 30, holds, (held) => held.toSorted().join() === names.join());

    await paste(world.lab, await documentedCommands('Every hold, freed by hand'));

    assert.deepEqual(await holds(), []);
    for (const deployment of [web, api]) await isLetGo(deployment, image);
    for (const deployment of [before, during]) {
      const stored = await deployment.read();
      assert.equal(isHeld(stored), false);
      assert.equal(stored.paused, true);
    }
    const good = await shop.push('v3');
    for (const deployment of deployments) await deployment.setImage(good);
    for (const deployment of deployments) assert.equal(isHeld(await deployment.read()), false);
    await Promise.all([web.rolledOut(60), api.rolledOut(60)]);

    world.gate = await startGate(world.lab);
    for (const deployment of deployments) assert.equal(isHeld(await deployment.read()), false);
    await web.setImage(missingImage(shop));
    await staysHeld(web);
  });
});

/** The names of the Deployments that are held, in all namespaces. */
async function holds(): Promise<string[]> {
  const argv = ['get', 'deployments', '-A', '-l', HELD_LABEL, '-o', 'jsonpath={.items[*].metadata.name}'];
  return (await world.lab.kubectl(argv)).stdout.split(' ').filter(Boolean);
}

/** The first block of commands below this heading. */
async function documentedCommands(heading: string): Promise<string> {
  const text = await readFile(new URL('../../docs/behaviour.md', import.meta.url), 'utf8');
  const section = text.split(`\n## ${heading}\n`)[1];
  const commands = /```sh\n(.*?)```/s.exec(section ?? '')?.[1];
  assert.ok(commands, heading);
  return commands;
}
