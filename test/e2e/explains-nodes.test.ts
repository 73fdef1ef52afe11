import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { templateImages } from '../../src/api/template/template-images.ts';
import { PULL_TIMES, type PullTimes } from '../../src/preloads/assess/pull-times.ts';
import { PAUSE_IMAGE } from '../cluster/lab/images.ts';
import { digestOf } from '../cluster/simulated/registry.ts';
import { simulateNodes } from '../cluster/simulated/simulated-nodes.ts';
import { type Deployment, deploy } from '../support/e2e/deployment.ts';
import { assertAllRun, commandsIn, explanationOf } from '../support/e2e/explained.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { paste } from '../support/e2e/terminal.ts';
import { told } from '../support/e2e/told.ts';
import { until } from '../support/e2e/until.ts';

/** Everything that takes minutes takes a twelfth of it here. */
const FASTER = 12;
const TIMES = {
  ...Object.fromEntries(Object.entries(PULL_TIMES).map(([name, ms]) => [name, ms / FASTER])),
  // Simulated nodes report their images with the heartbeat, every 10 s.
  absentMs: PULL_TIMES.absentMs,
} as unknown as PullTimes;
/** Before a node that fails is given up, and after one that hangs is. */
const DEADLINE_SECONDS = 6;
const NODE_TIMEOUT_SECONDS = 4;
const SOON = 30;

const world = gatedLab({ flags: ['--node-timeout-seconds', `${NODE_TIMEOUT_SECONDS}`], pullTimes: TIMES });

const REFUSED = {
  fails:
    'failed to do request: Head "http://registry.test/v2/app/manifests/2": dial tcp 10.0.0.9:80: connect: connection refused',
};
/** No node has it, and only simulated ones could get it. */
const imageOf = ({ name }: Namespace) => `registry.test/${name}:2`;

/** The note of that Event, as `kubectl describe deploy` shows it. */
function noteIn(described: string, reason: string, part = ''): string {
  const events = described.slice(described.indexOf('\nEvents:')).split('\n');
  const note = events.find((line) => line.includes(` ${reason} `) && line.includes(part));
  assert.ok(note, described);
  return note;
}

async function withDeadline(shop: Namespace): Promise<void> {
  await shop.kubectl('annotate', 'deployment', 'web', `pullgate.io/deadline-seconds=${DEADLINE_SECONDS}`);
}

async function assertGoesBack(shop: Namespace, web: Deployment, note: string): Promise<void> {
  const commands = commandsIn(note);
  assert.deepEqual(
    commands.map((command) => command.split(' ')[3]),
    ['set', 'describe'],
    note,
  );
  await assertAllRun(shop, commands);
  await paste(shop.lab, commands[0] ?? '');
  // Where it has been let go, going back waits for the old image, which its nodes have.
  await web.released(SOON);
  const { template } = await web.read();
  assert.deepEqual(
    templateImages(template).map(({ image }) => image),
    [PAUSE_IMAGE],
  );
}

describe('look at nodes that fail, are late or left out, with the same two commands alone [explain-nodes]', {
  concurrency: true,
}, () => {
  test('one that fails again and again and one that hangs: each by name, and how many are ready', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 4);
    const [failing = '', hanging = ''] = nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, { seconds: 1 });
    nodes.registry.answer(image, REFUSED, failing);
    nodes.registry.answer(image, { hangs: true }, hanging);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    await web.setImage(image);
    await told(shop, 'web', 'PreloadNodeFailed', SOON);
    const early = await explanationOf(shop);
    assert.match(
      noteIn(early.described, 'PreloadNodeFailed', failing),
      /: registry\.test\S+: .*connection refused \(ConnectionRefused\); \d of 4 nodes are ready; [^;]+; see kubectl/,
    );

    await web.released(SOON);
    const { described, listed } = await until(
      'the last status',
      SOON,
      () => explanationOf(shop),
      (now) => now.listed?.['READY'] === '2/2',
    );
    const leaves = '; this node no longer counts; 2 of [23] nodes are ready; [^;]+; see kubectl ';
    assert.match(
      noteIn(described, 'PreloadNodeFailed', '(PullFailed)'),
      new RegExp(`${failing}: ${image}: .*connection refused \\(PullFailed\\)${leaves}`),
    );
    assert.match(
      noteIn(described, 'PreloadNodeFailed', '(PullTimedOut)'),
      new RegExp(`${hanging}: ${image}: still pulling .* \\(PullTimedOut\\)${leaves}`),
    );
    assert.match(
      noteIn(described, 'PreloadReady'),
      new RegExp(
        `2 of 2 nodes have ${image}; excluded: 1 PullFailed \\(${failing}\\), 1 PullTimedOut \\(${hanging}\\); see`,
      ),
    );
    assert.equal(listed?.['IMAGES'], image);
    await assertAllRun(shop, commandsIn(described));
    nodes.registry.answer(image, { seconds: 0.5 }, failing, hanging);
  });

  test('a deadline that passes with some ready: how many, one that is late and why, and the way back', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 3);
    const [good = ''] = nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, REFUSED);
    nodes.registry.answer(image, { seconds: 1 }, good);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    await withDeadline(shop);
    await web.setImage(image);
    await web.released(SOON);
    await told(shop, 'web', 'HoldDeadlineExceeded');
    const { described, listed } = await explanationOf(shop);
    const note = noteIn(described, 'HoldDeadlineExceeded');
    assert.match(
      note,
      new RegExp(
        `1 of 3 nodes have ${image}; sim-\\S+: ${image}: .*connection refused \\(ConnectionRefused\\); the`,
      ),
    );
    assert.match(listed?.['READY'] ?? '', /^1\//);
    assert.equal(listed?.['IMAGES'], image);
    await assertAllRun(shop, commandsIn(described));
    await assertGoesBack(shop, web, note);
  });

  for (const [what, answer, words] of [
    [
      'all fail',
      REFUSED,
      /sim-\S+: registry\S+: .*connection refused \(ConnectionRefused\); the running version is/,
    ],
    [
      'all hang',
      { hangs: true },
      /sim-\S+: registry\S+: still pulling when .* \(Timeout\); the running version is/,
    ],
  ] as const) {
    test(`a deadline that passes with none ready, as ${what}: how many, one of them and why, and the way back`, async (t) => {
      const shop = await world.namespace(t);
      const nodes = await simulateNodes(t, world.api, 2);
      const image = imageOf(shop);
      nodes.registry.answer(image, answer);
      const web = await deploy(shop, 'web', { pod: nodes.pod });
      await withDeadline(shop);
      await web.setImage(image);
      await told(shop, 'web', 'PreloadFailed', SOON);
      const { described, listed } = await until(
        'the status tells it, too',
        SOON,
        () => explanationOf(shop),
        (now) => now.listed?.['PHASE'] === 'Failed',
      );
      const note = noteIn(described, 'PreloadFailed');
      assert.match(note, /the deadline of 6 s has passed and 0 of 2 nodes are ready; sim-/);
      assert.match(note, words);
      assert.ok(note.includes(image), note);
      assert.deepEqual(
        [listed?.['READY'], listed?.['FAILED'], listed?.['REASON'], listed?.['IMAGES']],
        ['0/2', '2', 'DeadlineExceeded', image],
      );
      await assertGoesBack(shop, web, note);
    });
  }

  test('no eligible node: how many are left out, why, and one of them', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 2);
    const [first = ''] = nodes.names();
    const image = imageOf(shop);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    await Promise.all(nodes.names().map(nodes.cordon));
    await withDeadline(shop);
    await web.setImage(image);
    await until('the status tells it', SOON, shop.preloads, ([one]) => one?.status?.phase === 'Pending');
    const { listed } = await explanationOf(shop);
    assert.deepEqual([listed?.['READY'], listed?.['REASON']], ['0/0', 'NoEligibleNodes']);
    const { note: waits } = await told(shop, 'web', 'WaitingForNodes', SOON);
    assert.match(
      waits,
      /excluded: 2 Cordoned .*; the rollout waits for one, until \d{4}-\S+Z at the latest; /,
    );
    await web.released(SOON);
    await told(shop, 'web', 'NoEligibleNodes');
    const { described } = await explanationOf(shop);
    const note = noteIn(described, 'NoEligibleNodes');
    assert.match(note, new RegExp(`preloaded with ${image}; excluded: 2 Cordoned \\(such as ${first}\\), `));
    const commands = commandsIn(note);
    assert.equal(commands.length, 2, note);
    await assertAllRun(shop, commands);
  });

  test('nodes that are cordoned or fall silent during a hold: how many, and their names', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 3);
    const [kept = '', cordoned = '', silent = ''] = nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, { hangs: true });
    // The pod runs where nothing happens to it.
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    await web.setImage(image);
    await told(shop, 'web', 'PreloadStarted');
    await Promise.all([nodes.cordon(cordoned), nodes.notReady(silent)]);
    await until('one is left', SOON, shop.preloads, ([one]) => one?.status?.desiredNodes === 1);
    const { listed } = await explanationOf(shop);
    assert.deepEqual([listed?.['READY'], listed?.['IMAGES']], ['0/1', image]);
    nodes.registry.answer(image, { seconds: 0.5 }, kept);
    await web.released(SOON);
    await told(shop, 'web', 'PreloadReady');
    const { described } = await explanationOf(shop);
    assert.match(
      noteIn(described, 'PreloadReady'),
      new RegExp(
        `1 of 1 nodes have ${image}; excluded: 1 Cordoned \\(${cordoned}\\), 1 NotReady \\(${silent}\\); see`,
      ),
    );
    await assertAllRun(shop, commandsIn(described));
  });

  test('one tag that is another image on some nodes: how many have which, and their names', async (t) => {
    const shop = await world.namespace(t);
    const nodes = await simulateNodes(t, world.api, 3);
    const [first = ''] = nodes.names();
    const image = imageOf(shop);
    nodes.registry.answer(image, { seconds: 0.5 });
    nodes.registry.answer(image, { seconds: 0.5, digest: digestOf('moved') }, first);
    const web = await deploy(shop, 'web', { pod: nodes.pod });
    await web.setImage(image);
    await told(shop, 'web', 'ImageDiverged', SOON);
    const { described } = await explanationOf(shop);
    const note = noteIn(described, 'ImageDiverged');
    assert.ok(note.includes(image) && note.includes(first), note);
    await assertAllRun(shop, commandsIn(note));
  });
});
