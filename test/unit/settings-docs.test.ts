import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Option } from 'commander';
import { SETTINGS } from '../../src/api/settings.ts';
import { command } from '../../src/config.ts';

const page = readFileSync(new URL('../../docs/settings.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => /^\| *(`|\| `)/.test(line));
const flags = command().options.filter(({ long }) => long !== '--version');
const settings = Object.values(SETTINGS);

/** What the flag's own parser says of what it refuses. */
function rangeOf({ argChoices, flags, parseArg }: Option): string {
  if (argChoices !== undefined) return argChoices.map((choice) => `\`${choice}\``).join(', ');
  if (parseArg === undefined) return /<(\w+)>/.exec(flags)?.[1] ?? '';
  let said = '';
  assert.throws(
    () => parseArg('', undefined),
    ({ message }: Error) => {
      said = message;
      return true;
    },
  );
  return said.replace(/^It must be |\.$/g, '');
}

function row(option: Option): string {
  const annotation = settings.find(({ flag }) => flag === option.long)?.annotation;
  const [, meaning, byText] = /^(.*?)(?: \(default: (.*)\))?$/.exec(option.description) ?? [];
  const byValue = option.defaultValueDescription ?? (option.defaultValue as string | number | undefined);
  const fallback = byText ?? (byValue === undefined ? undefined : `\`${byValue}\``);
  const cells = [annotation && `\`${annotation}\``, `\`${option.long}\``, fallback, rangeOf(option), meaning];
  return line(cells).replaceAll('<', '&lt;');
}

function line(cells: readonly (string | undefined)[]): string {
  return `|${cells.map((cell) => (cell ? ` ${cell} |` : ' |')).join('')}`;
}

test('the docs have a row for every flag: its annotation, default, range and meaning', () => {
  assert.deepEqual(
    rows.filter((text) => text.includes('`--')),
    flags.map(row),
  );
});

test('the docs have a row for every annotation that has no flag', () => {
  const without = settings.filter(({ flag }) => flag === undefined);
  assert.ok(without.length > 0);
  const found = rows.filter((text) => !text.includes('`--'));
  assert.equal(found.length, without.length);
  for (const [index, { annotation, range }] of without.entries()) {
    const start = line([`\`${annotation}\``, undefined, undefined, range.allowed]);
    assert.ok(found[index]?.startsWith(`${start} `), found[index]);
  }
});

test('every flag but --kubeconfig and --context has an environment variable of its name', () => {
  for (const { long = '', envVar } of flags) {
    const variable = `PULLGATE_${long.slice(2).toUpperCase().replaceAll('-', '_')}`;
    const has = long !== '--kubeconfig' && long !== '--context';
    assert.equal(envVar, has ? variable : undefined, long);
  }
});
