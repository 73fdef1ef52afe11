import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { APPROVAL_LABEL, MODE_LABEL, NOT_BEFORE_ANNOTATION, REVERT_ANNOTATION } from '../../src/api/names.ts';
import { deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { assertOnEveryNode } from '../support/e2e/on-every-node.ts';
import { paste } from '../support/e2e/terminal.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const REQUIRED = { [APPROVAL_LABEL]: 'required' };
const HELD = /^Warning: pullgate: the rollout of .* is held until its nodes have/m;

/** The command that the Event says to run. */
async function approveCommand(shop: Namespace): Promise<string> {
  const { note } = await told(shop, 'web', 'WaitingForApproval', 60);
  const [, command] = /; approve: (kubectl .*)$/.exec(note) ?? [];
  assert.ok(command, note);
  return command;
}

const phaseOf = (shop: Namespace) => shop.kubectl('get', 'ipl').then(({ stdout }) => stdout);

describe('require approvals by the label `pullgate.io/approval`, and approve [approval]', {
  concurrency: true,
}, () => {
  test('held when its images are on the nodes, released by the command of the Event', async (t) => {
    const shop = await world.namespace(t, { [MODE_LABEL]: 'pause', ...REQUIRED });
    const web = await deploy(shop, 'web');
    const image = await shop.push('v2');
    assert.match((await web.setImage(image)).stderr, HELD);
    const command = await approveCommand(shop);
    await assertOnEveryNode(world.lab, image);
    await until(
      'the phase says so',
      10,
      () => phaseOf(shop),
      (table) => /WaitingForApproval/.test(table),
    );
    const status = await shop.tryKubectl('rollout', 'status', 'deployment/web', '--timeout=2s');
    assert.match(status.stderr, /timed out waiting/, 'rollout status waits');
    assert.ok(isHeld(await web.read()));

    const { stderr } = await paste(world.lab, command);
    assert.match(stderr, /approved: the rollout of .* starts when its nodes have the images/);
    await web.released(10);
    await web.rolledOut(60);
    assert.match((await told(shop, 'web', 'RolloutApproved')).note, /^approved by /);
    assert.match((await told(shop, 'web', 'RolloutReleased')).note, /\(Ready\), approved by /);
    const waits = (await shop.events('web')).filter(({ reason }) => reason === 'WaitingForApproval');
    assert.equal(waits.length, 1);
    const stored = JSON.stringify((await web.read()).annotations);
    assert.doesNotMatch(stored, /pullgate\.io\/approved/);
  });

  test('another image needs a new approval, and going back needs none', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    await shop.kubectl('label', 'deployment', 'web', `${APPROVAL_LABEL}=required`);
    assert.match((await web.setImage(await shop.push('v2'))).stderr, /also waits for an approval/);
    const command = await approveCommand(shop);
    await web.setImage(await shop.push('v3'));
    assert.match((await paste(world.lab, command)).stderr, /it names another pod template than the held one/);
    await until(
      'the phase says so',
      60,
      () => phaseOf(shop),
      (table) => /WaitingForApproval/.test(table),
    );
    assert.ok(isHeld(await web.read()));
    await shop.kubectl('annotate', 'deployment', 'web', `${REVERT_ANNOTATION}=not today`);
    assert.equal(isHeld(await web.read()), false);
    await web.rolledOut(60);
  });
});

test('require approvals in a namespace of mode `reject`: held as in mode pause [approval-reject]', async (t) => {
  const shop = await world.namespace(t, { [MODE_LABEL]: 'reject', ...REQUIRED });
  const web = await deploy(shop, 'web');
  assert.match((await web.setImage(await shop.push('v2'))).stderr, HELD);
  await paste(world.lab, await approveCommand(shop));
  await web.released(10);
});

describe('set `pullgate.io/not-before` [not-before]', { concurrency: true }, () => {
  test('the rollout starts at that time', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const image = await shop.push('v2');
    const start = Date.now() + 25_000;
    await shop.kubectl(
      'annotate',
      'deployment',
      'web',
      `${NOT_BEFORE_ANNOTATION}=${new Date(start).toISOString()}`,
    );
    await web.setImage(image);
    assert.match((await told(shop, 'web', 'WaitingForTime', 20)).note, /the rollout waits until /);
    assert.ok(isHeld(await web.read()));
    await web.released(60);
    assert.ok(Date.now() >= start, 'not before');
    await web.rolledOut(60);
  });

  test('a time that cannot be read keeps it held until it is corrected', async (t) => {
    const shop = await world.namespace(t);
    const web = await deploy(shop, 'web');
    const wrong = `${NOT_BEFORE_ANNOTATION}=tonight`;
    const warned = await shop.kubectl('annotate', 'deployment', 'web', wrong);
    assert.match(warned.stderr, /pullgate.io\/not-before is not valid, so a held rollout waits/);
    assert.match((await web.setImage(await shop.push('v2'))).stderr, /it must be a time with a time zone/);
    assert.match(
      (await told(shop, 'web', 'InvalidSetting')).note,
      /a held rollout waits until it is corrected or removed/,
    );
    await told(shop, 'web', 'WaitingForTime', 60);
    assert.ok(isHeld(await web.read()));
    await shop.kubectl('annotate', 'deployment', 'web', `${NOT_BEFORE_ANNOTATION}-`);
    await web.released(10);
  });
});
