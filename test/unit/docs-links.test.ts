import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MARKS } from '../../src/api/names.ts';
import { SETTINGS } from '../../src/api/settings.ts';
import { command } from '../../src/config.ts';
import { anchorsOf } from '../support/unit/markdown.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGES = globSync(['*.md', 'certs/*.md', 'docs/**/*.md', '.github/**/*.md'], { cwd: ROOT }).toSorted();
const text = (page: string) => readFileSync(join(ROOT, page), 'utf8');

interface Link {
  readonly page: string;
  readonly target: string;
  /** From the root. */
  readonly path: string;
  readonly anchor: string | undefined;
}

function linksOf(page: string): Link[] {
  // A regular expression in code looks like a link.
  const prose = text(page).replace(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = '', anchor] = target.split('#');
      return { page, target, anchor, path: file === '' ? page : normalize(join(dirname(page), file)) };
    });
}

const links = PAGES.flatMap(linksOf);

/** What stands in a code block or between backticks, a line each. */
function codeOf(page: string): { readonly blocks: string[]; readonly inline: string[] } {
  const blocks: string[] = [];
  const prose: string[] = [];
  let inBlock = false;
  for (const line of text(page).split('\n')) {
    if (line.startsWith('```')) inBlock = !inBlock;
    else (inBlock ? blocks : prose).push(line);
  }
  // A span may go on in the next line.
  const inline = [...prose.join('\n').matchAll(/`([^`]+)`/g)].map(([, code = '']) =>
    code.replaceAll('\n', ' '),
  );
  return { blocks, inline };
}

const code = PAGES.flatMap((page) => {
  const { blocks, inline } = codeOf(page);
  return [...blocks, ...inline].map((line) => ({ page, line }));
});

/** Every match of the pattern in code, with its page, so that a failure tells where. */
function found(pattern: RegExp): { readonly page: string; readonly match: string }[] {
  return code.flatMap(({ page, line }) =>
    [...line.matchAll(pattern)].map(([whole, match = whole]) => ({ page, match })),
  );
}

test('every link between the pages, and into the repository, leads somewhere', () => {
  assert.ok(links.length > 30);
  assert.deepEqual(
    links.filter(({ path }) => !existsSync(join(ROOT, path))),
    [],
  );
});

test('every anchor is a heading of the page that it is in', () => {
  const anchored = links.filter(({ anchor }) => anchor !== undefined);
  assert.ok(anchored.length > 15);
  assert.deepEqual(
    anchored.filter(({ path, anchor = '' }) => !anchorsOf(text(path)).includes(anchor)),
    [],
  );
});

test('the index of its folder, or else that of docs, lists every page', () => {
  const index = (page: string) => {
    const own = join(dirname(page), 'README.md');
    return page.startsWith('docs/') && own !== page && PAGES.includes(own) ? own : 'docs/README.md';
  };
  const unlisted = PAGES.filter((page) => page !== 'docs/README.md' && !page.startsWith('.github/')).filter(
    (page) => !linksOf(index(page)).some(({ path }) => path === page),
  );
  assert.deepEqual(unlisted, []);
  assert.ok(linksOf('README.md').some(({ path }) => path === 'docs/README.md'));
});

test('every flag that a page names is one of the gate', () => {
  const flags = command().options.map(({ long }) => long);
  // Other programs' flags stand behind the name of the program.
  const named = [
    ...found(/^(--[a-z][a-z-]+)/g),
    ...found(/^\s*- (--[a-z][a-z-]+)/g),
    ...found(/^npm start -- (.*)/g).flatMap(({ page, match }) =>
      [...match.matchAll(/--[a-z][a-z-]+/g)].map(([flag]) => ({ page, match: flag })),
    ),
  ];
  assert.ok(named.length > 20);
  assert.deepEqual(
    named.filter(({ match }) => !flags.includes(match)),
    [],
  );
});

test('every environment variable that a page names is read', () => {
  // PULLGATE_KUBE_BIN is the lab's.
  const known = [...command().options.map(({ envVar }) => envVar), 'PULLGATE_KUBE_BIN'];
  const named = found(/\bPULLGATE_[A-Z_]+/g);
  assert.ok(named.length > 1);
  assert.deepEqual(
    named.filter(({ match }) => !known.includes(match)),
    [],
  );
});

test('every label and annotation that a page names is one of ours', () => {
  const known = [
    ...MARKS.map(({ name }) => name),
    ...Object.values(SETTINGS).map(({ annotation }) => annotation),
    // apiVersion, webhooks and their audit annotations.
    'pullgate.io/v1alpha1',
    ...['decision', 'reason', 'preload', 'images'].map((key) => `pullgate.io/${key}`),
  ];
  const named = found(/\bpullgate\.io\/[a-z0-9-]*[a-z0-9]/g);
  assert.ok(named.length > 20);
  assert.deepEqual(
    named.filter(({ match }) => !known.includes(match)),
    [],
  );
});

test('whatever is applied or deleted with -k is a kustomization', () => {
  const named = found(/kubectl (?:apply|delete|replace --force) -k (\S+)/g);
  assert.ok(named.length > 5);
  assert.deepEqual(
    named.filter(({ match }) => !existsSync(join(ROOT, match, 'kustomization.yaml'))),
    [],
  );
});

test('the page on installation names every component, and no other', () => {
  const page = text('docs/install.md');
  const rows = [...page.matchAll(/^\| `([a-z0-9.-]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(rows.toSorted(), readdirSync(join(ROOT, 'deploy/components')).toSorted());
  const used = found(/deploy\/components\/([a-z0-9.-]+)/g);
  assert.ok(used.length > 0);
  assert.deepEqual(
    used.filter(({ match }) => !rows.includes(match)),
    [],
  );
});

test('every file of src, deploy and certs that a page names is there', () => {
  const named = found(/(?<![\w./-])((?:src|deploy|certs|test)\/[\w./-]*\w)/g);
  assert.ok(named.length > 10);
  assert.deepEqual(
    named.filter(({ match }) => !existsSync(join(ROOT, match))),
    [],
  );
});
