import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Operation } from 'fast-json-patch';
import { parseCachedDeployment } from '../../src/api/cached-deployment.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { withMarks, writeHold } from '../../src/api/hold.ts';
import { HELD_LABEL, HOLD_ANNOTATION, KEEP_PAUSED_ANNOTATION } from '../../src/api/names.ts';
import { pausedAfterHold, releasePatch } from '../../src/deployments/release-patch.ts';
import type { JsonObject } from '../../src/json.ts';
import { heldObject, holdOf, updated } from '../support/unit/held-deployment.ts';
import { applyJsonPatch } from '../support/unit/json-patch.ts';

const patchOf = (object: JsonObject): Operation[] => {
  const deployment = parseDeployment(object);
  return releasePatch(deployment, pausedAfterHold(deployment)) as Operation[];
};
const apply = applyJsonPatch;

const anyHeld = fc
  .record({
    annotations: fc.dictionary(fc.stringMatching(/^[a-z~/.]{1,8}$/), fc.string()),
    labels: fc.dictionary(fc.stringMatching(/^[a-z/.]{1,8}$/), fc.string()),
    keepPaused: fc.constantFrom(undefined, 'true', 'false'),
    userPaused: fc.boolean(),
    generation: fc.nat(),
    paused: fc.boolean(),
  })
  .map(({ annotations, labels, keepPaused, userPaused, generation, paused }) => {
    let builder = updated.metadata({ generation });
    for (const [name, value] of Object.entries(annotations)) builder = builder.annotate(name, value);
    for (const [name, value] of Object.entries(labels)) builder = builder.label(name, value);
    if (keepPaused !== undefined) builder = builder.annotate(KEEP_PAUSED_ANNOTATION, keepPaused);
    const object = withMarks(builder.object, { hold: holdOf(updated, { userPaused }), paused });
    return { object, before: builder.object, wantsPause: paused && (userPaused || keepPaused === 'true') };
  });

test('it takes off the hold, its label and its pause, restores what the owner wants, and touches nothing else', () => {
  fc.assert(
    fc.property(anyHeld, ({ object, before, wantsPause }) => {
      const released = apply(object, patchOf(object));
      // False and absent are the same: with the pause set on both, the rest can be compared.
      assert.deepEqual(withMarks(released, { paused: true }), withMarks(before, { paused: true }));
      assert.equal(parseDeployment(released).paused, wantsPause);
    }),
  );
});

test('it fails on a Deployment that has changed since it was read', () => {
  const object = heldObject();
  const patch = patchOf(object);
  const changed: readonly (readonly [string, JsonObject])[] = [
    ['its generation', heldObject(updated.metadata({ generation: 4 }))],
    ['its hold', heldObject(updated, { since: '2026-01-01T00:00:01.000Z' })],
    ['a wish to stay paused', heldObject(updated.annotate(KEEP_PAUSED_ANNOTATION, 'true'))],
    ['the hold is gone', updated.object],
    ['it was made again', heldObject(updated.metadata({ uid: 'another', generation: 1 }))],
  ];
  for (const [what, other] of changed) assert.throws(() => apply(other, patch), what);
  apply({ ...object, status: { observedGeneration: 4 } }, patch);
  apply(heldObject(updated.label('team', 'web')), patch);
  apply(heldObject(updated.annotate('team', 'web')), patch);
});

test('it fails if a wish to stay paused was taken back', () => {
  const patch = patchOf(heldObject(updated.annotate(KEEP_PAUSED_ANNOTATION, 'true')));
  assert.throws(() => apply(heldObject(), patch));
});

test('a hold of which only a part is remembered is taken off all the same', () => {
  const object = updated.annotate(HOLD_ANNOTATION, 'x'.repeat(100_000)).spec({ paused: true }).object;
  const cached = parseCachedDeployment(object);
  const patch = releasePatch(cached, pausedAfterHold(cached)) as Operation[];
  assert.deepEqual(apply(object, patch), {
    ...updated.object,
    spec: { ...Object(updated.object['spec']), paused: false },
  });
});

test('what it tests comes before what it changes', () => {
  const operations = patchOf(heldObject()).map(({ op }) => op);
  assert.deepEqual(operations, [...Array(6).fill('test'), 'remove', 'remove', 'replace']);
});

test('a label without a hold keeps nothing paused, unless it was asked for', () => {
  const labelled = updated.label(HELD_LABEL, 'true').spec({ paused: true });
  const released = (object: JsonObject) => parseDeployment(apply(object, patchOf(object)));
  assert.deepEqual(released(labelled.object), parseDeployment(updated.object));
  const kept = updated.annotate(KEEP_PAUSED_ANNOTATION, 'true').spec({ paused: true });
  assert.deepEqual(
    released(labelled.annotate(KEEP_PAUSED_ANNOTATION, 'true').object),
    parseDeployment(kept.object),
  );
});

test('an unreadable hold says nothing of a wish to pause, so nothing stays paused', () => {
  for (const hold of ['', '{', writeHold({ ...holdOf(), userPaused: true }).replace('"v":1', '"v":2')]) {
    const object = updated.annotate(HOLD_ANNOTATION, hold).spec({ paused: true }).object;
    assert.equal(pausedAfterHold(parseDeployment(object)), false, hold);
  }
});
