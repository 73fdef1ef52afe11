import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { NOT_BEFORE_ANNOTATION } from '../../src/api/names.ts';
import { type Deployment, deploy, isHeld } from '../support/e2e/deployment.ts';
import { gatedLab } from '../support/e2e/gated-lab.ts';
import type { Namespace } from '../support/e2e/namespace.ts';
import { paste } from '../support/e2e/terminal.ts';
import { until } from '../support/e2e/until.ts';

const world = gatedLab();
const PAGE = readFileSync(new URL('../../docs/recipes.md', import.meta.url), 'utf8');

/** The blocks of one recipe: commands, or what is to be seen after those before. */
function blocksOf(recipe: string): { readonly isCommand: boolean; readonly text: string }[] {
  const section = PAGE.split(/^## /m).find((one) => one.startsWith(recipe));
  assert.ok(section, `docs/recipes.md has no recipe "${recipe}"`);
  return [...section.matchAll(/^```(sh)?\n(.*?)^```$/gms)].map(([, language, text = '']) => ({
    isCommand: language === 'sh',
    text,
  }));
}

/** Runs the commands of the page, with the names of the test in the place of the page's, as `prepare` returns them. */
async function walk(
  recipe: string,
  names: Readonly<Record<string, string>>,
  prepare: (command: string) => Promise<string>,
): Promise<void> {
  const blocks = blocksOf(recipe);
  assert.ok(blocks.length > 3);
  for (const [index, { isCommand, text }] of blocks.entries()) {
    if (!isCommand) continue;
    const named = Object.entries(names).reduce((all, [from, to]) => all.replaceAll(from, to), text);
    const command = await prepare(named);
    const shown = blocks[index + 1];
    const seen = shown?.isCommand === false ? shown.text : '';
    const [, phase] = /\b(WaitingFor[A-Z][a-z]+)\b/.exec(seen) ?? [];
    const isSeen = ({ stdout }: { stdout: string }) => phase === undefined || stdout.includes(phase);
    // What is to be seen takes as long as the pulls.
    await until(`\`${command.trim()}\` shows ${phase}`, 90, () => paste(world.lab, command), isSeen);
  }
}

/** `web` runs `v1` of the registry's repository. */
async function shopWith(scope: Parameters<typeof world.namespace>[0]) {
  const shop = await world.namespace(scope, {});
  const image = await shop.push('1');
  await shop.push('2');
  const web = await deploy(shop, 'web', { image });
  return { shop, web, names: { 'registry.example/app': image.replace(/:1$/, ''), shop: shop.name } };
}

async function runs(web: Deployment, tag: string): Promise<void> {
  const { template } = await web.read();
  assert.match(JSON.stringify(template), new RegExp(`:${tag}"`));
  await web.rolledOut(30);
}

/** The digest in the Event that asks for the approval of this version. */
async function digestToApprove(shop: Namespace, image: string): Promise<string> {
  const [found] = await until(
    `the Event for ${image} is there`,
    60,
    async () =>
      (await shop.events('web')).filter(
        ({ reason, note }) => reason === 'WaitingForApproval' && note.includes(`${image};`),
      ),
    ({ length }) => length > 0,
  );
  const [, digest] = /approved=([0-9a-f]{32}) /.exec(found?.note ?? '') ?? [];
  assert.ok(digest, found?.note);
  return digest;
}

describe('the recipes of docs/recipes.md, command by command', { concurrency: true }, () => {
  test('Start a rollout in a maintenance window', async (t) => {
    const { web, names } = await shopWith(t);
    const start = new Date(Date.now() + 30_000).toISOString();
    const times = { ...names, '2027-01-31T22:00:00Z': start };
    await walk('Start a rollout in a maintenance window', times, async (command) => {
      if (command.includes('rollout status')) assert.ok(isHeld(await web.read()), 'it waits');
      return command;
    });
    assert.ok(Date.now() >= Date.parse(start));
    await runs(web, '2');
    assert.equal((await web.read()).annotations[NOT_BEFORE_ANNOTATION], undefined);
  });

  test('Let a person start each rollout', async (t) => {
    const { shop, web, names } = await shopWith(t);
    let image = '';
    let approvals = 0;
    await walk('Let a person start each rollout', names, async (command) => {
      image = /app=(\S+)/.exec(command)?.[1] ?? image;
      if (!command.includes('/approved=')) return command;
      const digest = await digestToApprove(shop, image);
      assert.ok(isHeld(await web.read()), 'it waits');
      approvals += 1;
      return command.replace(/approved=[0-9a-f]{32}/, `approved=${digest}`);
    });
    assert.equal(approvals, 2);
    await runs(web, '1');
  });
});
