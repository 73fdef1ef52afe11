import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { evaluate } from '@marcbachmann/cel-js';
import { parse } from 'yaml';
import { asArray, asString, at, type JsonObject } from '../../src/json.ts';

const FILE = new URL('../../deploy/webhook-configuration.yaml', import.meta.url);
const webhooks = asArray(at(parse(readFileSync(FILE, 'utf8')), 'webhooks'));

interface Marks {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly image?: string;
  readonly replicas?: number;
}

function deployment({ image = 'app:1', replicas = 1, ...metadata }: Marks = {}): JsonObject {
  const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'app', image }] } };
  return { metadata: { name: 'web', ...metadata }, spec: { replicas, template } };
}

/** By all of its conditions, of every webhook alike. */
function isAskedFor(oldObject: JsonObject, object: JsonObject): boolean {
  const answers = webhooks.map((webhook) =>
    asArray(at(webhook, 'matchConditions')).every(
      (one) => evaluate(asString(at(one, 'expression')) ?? '', { object, oldObject }) === true,
    ),
  );
  const [first = false] = answers;
  assert.ok(answers.every((answer) => answer === first));
  return first;
}

const HOLD = { 'pullgate.io/hold': '{}' };
const HELD = { 'pullgate.io/held': 'true' };
const decided = (what: string) => ({ 'pullgate.io/decided': what });

const CASES: readonly (readonly [string, Marks, Marks, boolean])[] = [
  ['nothing is changed', {}, {}, false],
  ['it is scaled', {}, { replicas: 5 }, false],
  ['a label comes', {}, { labels: { team: 'a' } }, false],
  ['an annotation comes, where there were none', {}, { annotations: { note: 'a' } }, false],
  [
    'it is scaled, long after a decision',
    { annotations: decided('a') },
    { annotations: decided('a'), replicas: 5 },
    false,
  ],
  ['it is not opted out', {}, { labels: { 'pullgate.io/mode': 'on' } }, false],
  ['a bypass alone comes', {}, { annotations: { 'pullgate.io/bypass': 'why' } }, false],
  ['its image is changed', {}, { image: 'app:2' }, true],
  [
    'it is scaled while held',
    { annotations: HOLD, labels: HELD },
    { annotations: HOLD, labels: HELD, replicas: 5 },
    true,
  ],
  ['the hold is taken off', { annotations: HOLD }, {}, true],
  ['the label of a hold is taken off', { labels: HELD }, {}, true],
  ['a hold is put on', {}, { annotations: HOLD }, true],
  ['the label of a hold is put on', {}, { labels: HELD }, true],
  ['a decision is put on', {}, { annotations: decided('a') }, true],
  ['a decision is changed', { annotations: decided('a') }, { annotations: decided('b') }, true],
  ['a decision is taken off', { annotations: decided('a') }, {}, true],
  ['it is opted out', {}, { labels: { 'pullgate.io/mode': 'off' } }, true],
  ['it is opted in again', { labels: { 'pullgate.io/mode': 'off' } }, {}, true],
];

for (const [what, before, after, asked] of CASES) {
  test(`${what}: the gate is ${asked ? '' : 'not '}asked`, () => {
    assert.equal(isAskedFor(deployment(before), deployment(after)), asked);
  });
}
