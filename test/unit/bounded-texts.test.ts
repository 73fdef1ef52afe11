import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import ts from 'typescript';
import { normalizeImage } from '../../src/api/template/image-reference.ts';
import { ApiError, isMissingRight } from '../../src/cluster/api-error.ts';
import { nodeAffinity } from '../../src/preloads/nodes/node-affinity.ts';
import { classifyPullFailure, registryMessage } from '../../src/preloads/pods/pull-failure.ts';
import { pullOutcome } from '../../src/preloads/pods/pull-result.ts';
import { parsePullerPod } from '../../src/preloads/pods/puller-pod-status.ts';
import { TEXT_LIMIT } from '../../src/text.ts';

const SRC = new URL('../../src/', import.meta.url).pathname;
/** A linear expression takes a tenth of that on an idle core. */
const LIMIT_MS = 5;

/** Of the processor, as other tests run at the same time. The best of three: the first one compiles. */
function milliseconds(run: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const began = process.threadCpuUsage();
    run();
    const { user, system } = process.threadCpuUsage(began);
    return (user + system) / 1000;
  });
  return Math.min(...times);
}

/** `unit` again and again up to the limit, as it is and with an end that keeps expressions from matching. */
const repeated = (unit: string) => [
  unit.repeat(Math.ceil(TEXT_LIMIT / unit.length)).slice(0, TEXT_LIMIT),
  `${unit.repeat(Math.ceil(TEXT_LIMIT / unit.length)).slice(0, TEXT_LIMIT - 2)}\n!`,
];

/** What registries, kubelets and runtimes write, and what separates it. */
const UNITS = [
  ...'ab/:"[]()., ?=-_@\n\0😀',
  ' /',
  '/:',
  ' a/:',
  '[a/',
  '::;',
  'a/b:c ',
  '"a',
  'https://',
  'https://a?',
  'http://a ',
  'rpc error: code = Unknown desc = ',
  '[rpc error: code = ',
  ', rpc error: code = ',
  'Back-off pulling image "a": ',
  'ErrImagePull: ',
  'failed to resolve reference "a": ',
  'failed to resolve image ',
  'failed to pull image "a": ',
  '(Mirrors also failed: ',
  'status code from registry ',
  'status [',
  'unexpected status from HEAD request to [',
  'manifest for a',
  'repository ',
  'no match for ',
  'manifest tagged by ',
  'denied: ',
  'User "',
];

test('a registry that answers with hundreds of kilobytes costs no more than one that says what is wrong', () => {
  for (const unit of UNITS) {
    const message = ` /${unit.repeat(256_000 / unit.length)}x `;
    const waiting = { reason: 'ErrImagePull', message };
    const status = {
      phase: 'Pending',
      message,
      containerStatuses: [{ name: 'pull', imageID: '', state: { waiting } }],
    };
    const pod = parsePullerPod({ metadata: {}, status });
    assert.ok((pod.container?.waiting?.message.length ?? 0) <= TEXT_LIMIT);
    assert.ok(pod.message.length <= TEXT_LIMIT);
    // A version of its own each time: of one version it is known already.
    const ms = milliseconds(() => pullOutcome({ ...pod }));
    assert.ok(ms < LIMIT_MS, `${JSON.stringify(unit)}: ${ms} ms`);
  }
});

test('the cause of a failure is seen at the beginning and at the end of a text that is cut', () => {
  const long = 'a'.repeat(100_000);
  const outcomeOf = (message: string) =>
    pullOutcome(
      parsePullerPod({
        status: {
          containerStatuses: [{ name: 'pull', state: { waiting: { reason: 'ErrImagePull', message } } }],
        },
      }),
    );
  assert.partialDeepStrictEqual(outcomeOf(`failed: ${long}: dial tcp: lookup a: no such host`), {
    reason: 'Dns',
  });
  assert.partialDeepStrictEqual(outcomeOf(`unexpected status code 503 Service Unavailable: ${long}`), {
    reason: 'ServerError',
  });
});

test('what a pod says is read once for each of its versions', () => {
  const pod = parsePullerPod({ metadata: {}, status: { phase: 'Failed', reason: 'Evicted' } });
  assert.equal(pullOutcome(pod), pullOutcome(pod));
  assert.notEqual(pullOutcome(pod), pullOutcome({ ...pod }));
});

test('an API server or a webhook behind it cannot make a long error', () => {
  const refusal = new ApiError(403, { reason: 'x'.repeat(1000), message: 'x'.repeat(1_000_000) });
  assert.ok(refusal.reason.length <= 63 && refusal.apiMessage.length <= TEXT_LIMIT);
  assert.ok(refusal.message.length < TEXT_LIMIT + 200);
  assert.ok(new ApiError(502, '<html>'.repeat(100_000)).message.length < TEXT_LIMIT + 200);
});

test('no text makes a classifier slow', () => {
  for (const text of UNITS.flatMap(repeated)) {
    const ms = milliseconds(() => {
      classifyPullFailure('ErrImagePull', text);
      registryMessage(text);
      normalizeImage(text);
      isMissingRight(new ApiError(403, text));
      const matchExpressions = [{ key: text, operator: 'In', values: [text] }];
      nodeAffinity({ nodeSelectorTerms: [{ matchExpressions }] })({ name: 'a', labels: { a: text } });
    });
    assert.ok(ms < LIMIT_MS, `${JSON.stringify(text.slice(0, 40))}: ${ms} ms`);
  }
});

interface Expression {
  readonly place: string;
  readonly source: string;
  readonly flags: string;
}

/** Every regular expression that stands in a file as such. Those that are put together are tried by the test above. */
function expressionsIn(path: string): Expression[] {
  const file = ts.createSourceFile(path, readFileSync(SRC + path, 'utf8'), ts.ScriptTarget.Latest);
  const found: Expression[] = [];
  const visit = (node: ts.Node): void => {
    if (node.kind === ts.SyntaxKind.RegularExpressionLiteral) {
      const text = node.getText(file);
      const end = text.lastIndexOf('/');
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      found.push({ place: `${path}:${line + 1}`, source: text.slice(1, end), flags: text.slice(end + 1) });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Each literal part of an expression, and what its classes stand for: repeated, they make it try the most. */
function unitsFor({ source }: Expression): Set<string> {
  const words = source.replace(/\\[a-zA-Z]/g, 'a').match(/[\w :"/=.,;@~-]+/g) ?? [];
  const plain = words.map((word) => word.replaceAll('\\', ''));
  return new Set([...plain, ...plain.map((word) => `${word} `), ...'a0-./:" =[(?\n', 'a ', 'a.', 'a-']);
}

test('no regular expression of the source is slow on a text of the longest length', () => {
  const all = globSync('**/*.ts', { cwd: SRC }).flatMap(expressionsIn);
  assert.ok(all.length > 50, `${all.length} expressions`);
  for (const expression of all) {
    const compiled = new RegExp(expression.source, expression.flags.replace('g', ''));
    for (const text of [...unitsFor(expression)].filter((unit) => unit !== '').flatMap(repeated)) {
      const ms = milliseconds(() => compiled.exec(text));
      assert.ok(ms < LIMIT_MS, `${expression.place} takes ${ms} ms on ${JSON.stringify(text.slice(0, 40))}`);
    }
  }
});
