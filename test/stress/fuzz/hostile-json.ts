import { writeHold } from '../../../src/api/hold.ts';
import type { Random } from '../../support/random.ts';
import { holdOf } from '../../support/unit/held-deployment.ts';

/** JSON texts that are no JSON value in JavaScript, or not only one: why texts are made here and not values. */
const ODD: readonly string[] = [
  ...['null', 'true', 'false', '0', '-0', '-1', '1.5', '[]', '{}', '""', '[null]', '[[]]', '{"":""}', '" "'],
  ...['1e999', '-1e999', '1e-999', '9007199254740993', `1${'0'.repeat(400)}`, `0.${'3'.repeat(400)}`],
  ...[
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\u2028\\u202e"',
    '"\\r\\nX: y"',
    '"\\u001b[2J"',
    '"\u{1f4a3}"',
  ],
  ...[
    '"__proto__"',
    '"constructor"',
    '"toString"',
    '"off"',
    '"true"',
    '"Always"',
    '"UPDATE"',
    '"kube-system"',
  ],
  ...['{"__proto__":{"paused":true}}', '{"\\u005f_proto__":7}', '{"__proto__":null}', '[{"__proto__":[]}]'],
  ...['{"constructor":{"prototype":{"paused":true}}}', '{"constructor":"x"}', '{"prototype":{}}'],
  ...['{"length":1e9}', '{"length":-1,"0":{}}', '{"toJSON":1,"toString":2,"valueOf":3,"then":4}'],
  ...['{"hasOwnProperty":1,"a":2,"a":{"a":3},"a":[]}', '{"name":"constructor","image":"x:1"}'],
  ...['{"name":"__proto__","image":"x:1"}', '{"name":{},"image":[]}', '{"image":"x:1"}', '{"reference":7}'],
  ...[
    '{"image":{"reference":"x:1"},"name":"../.."}',
    '"x:1@sha256:0"',
    '"a/../b:1"',
    '"[::1]:5000/a"',
    '"://"',
  ],
  ...[
    '"-271821-04-20T00:00:00Z"',
    '"+275760-09-13T00:00:00Z"',
    '"0"',
    '"2026-99-99"',
    '"$(reboot)"',
    `"';#"`,
  ],
];

const ODD_KEYS: readonly string[] = [
  ...[
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'toJSON',
    'length',
    '',
    ' ',
    '0',
    '-',
  ],
  ...[
    'a/b~c',
    '~1~0',
    '../..',
    '\u0000',
    '\ud800',
    '\u{1f4a3}',
    'metadata',
    'spec',
    'paused',
    'template',
    'image',
  ],
  ...[
    'pullgate.io/hold',
    'pullgate.io/held',
    'pullgate.io/decided',
    'pullgate.io/bypass',
    'pullgate.io/mode',
  ],
  ...['pullgate.io/keep-paused', 'pullgate.io/', 'deployment.kubernetes.io/revision'],
];

export function hostileKey(random: Random): string {
  return random.chance(0.03) ? 'k'.repeat(random.below(100_000)) : random.pick(ODD_KEYS);
}

export function hostileJson(random: Random): string {
  if (random.chance(0.75)) return random.pick(ODD);
  return random.pick([deep, broad, long, manyKeys, holdText, holdText])(random);
}

/** Mostly small, so that most requests are quick; sometimes megabytes. */
function size(random: Random): number {
  return random.below(
    random.pick([10, 100, 1000, 1000, 10_000, 100_000, random.chance(0.05) ? 3_000_000 : 10]),
  );
}

function deep(random: Random): string {
  // Around the depth that a template may have, or what would overflow any stack.
  const levels = random.chance(0.3) ? 55 + random.below(20) : size(random);
  const [open, close] = random.pick([
    ['[', ']'],
    ['{"a":', '}'],
    ['[{"spec":', '}]'],
    ['[[],', ',{}]'],
  ] as const);
  return `${open.repeat(levels)}1${close.repeat(levels)}`;
}

function broad(random: Random): string {
  const entry = random.pick([...ODD, '{"name":"app","image":"registry.test/app:9"}', '{"image":"busybox"}']);
  return `[${Array(1 + Math.floor(size(random) / 20))
    .fill(entry)
    .join(',')}]`;
}

/** Long texts of a few patterns: what a regular expression could be slow with, or run out of its stack. */
function long(random: Random): string {
  const unit = random.pick([
    'a',
    'a.',
    'a-',
    'a--',
    '_',
    'a/',
    ':',
    '@',
    'A.',
    '\\ud800',
    '\\n',
    '\u{1f4a3}',
    "'",
  ]);
  const end = random.pick(['', '!', ':1', '/a', '@sha256:', '-']);
  return `"${unit.repeat(size(random))}${end}"`;
}

function manyKeys(random: Random): string {
  const value = random.pick(['""', '"x"', '7', 'null', '{}', '[]']);
  const keys = Array.from(
    { length: 1 + Math.floor(size(random) / 20) },
    (_, count) => `"k${count}":${value}`,
  );
  return `{${keys.join(',')}}`;
}

/** What stands in `pullgate.io/hold`, with something wrong in it. */
function holdText(random: Random): string {
  const good = writeHold(holdOf());
  const field = random.pick([...good.matchAll(/"\w+":("[^"]*"|\w+)/g)])[0];
  const key = field.slice(0, field.indexOf(':'));
  const text = random.pick([
    good,
    good.slice(0, random.below(good.length)),
    good.replace(field, () => `${key}:${random.pick(ODD)}`),
    good.replace(field, () => '"x":1'),
    good.replace(/"images":\{.*?\}/, () => `"images":${random.pick(ODD)}`),
    '['.repeat(size(random)),
    random.pick(ODD),
  ]);
  return JSON.stringify(text);
}
