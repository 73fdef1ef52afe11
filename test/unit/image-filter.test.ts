import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assess } from '../../src/preloads/assess/assess.ts';
import { imageFilter, nameBits } from '../../src/preloads/assess/image-filter.ts';
import { images, node, preload, situation } from '../support/unit/preload-builder.ts';

test('a filter never denies a name that is in the list', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 40 }), { maxLength: 300 }), (names) => {
      const filter = imageFilter(new Set(names));
      assert.ok(names.every((name) => filter(nameBits(name))));
    }),
  );
});

/** Counts how often it is looked into. */
class CountingSet extends Set<string> {
  static lookups = 0;
  override has(name: string): boolean {
    CountingSet.lookups += 1;
    return super.has(name);
  }
}

test('a look at 100 new images on many nodes looks into next to no list of images', () => {
  const listed = (n: number) => Array.from({ length: 250 }, (_, i) => `registry.test/${n % 7}/${i}:1`);
  const nodes = Array.from({ length: 500 }, (_, n) => node(`n${n}`, { images: new CountingSet(listed(n)) }));
  const wanted = Array.from({ length: 100 }, (_, n) => `registry.test/new/${n}:2`);
  let asked = 0;
  const podsOf = () => {
    asked += 1;
    return () => [];
  };
  const input = { ...situation({ preload: preload({ images: images(...wanted) }), nodes }), podsOf };
  CountingSet.lookups = 0;
  const { outcome, progress } = assess(input);
  assert.deepEqual([progress.ready, outcome.kind], [0, 'wait']);
  assert.equal(asked, 100, 'once for each image');
  // 100,000 without a filter.
  assert.ok(CountingSet.lookups < 5000, `${CountingSet.lookups} look-ups`);
});
