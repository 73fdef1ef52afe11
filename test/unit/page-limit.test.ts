import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { firstPage, nextPage, type PageLimit, smallerPage } from '../../src/cluster/page-limit.ts';

const KB = 1024;
const MB = 1024 * KB;

/** The pages in which objects of these sizes are read, and the bytes of each, whether it was read to its end or not. */
function read(sizes: readonly number[]): { items: number; bytes: number; limit: PageLimit }[] {
  const pages: { items: number; bytes: number; limit: PageLimit }[] = [];
  let limit: PageLimit | undefined = firstPage();
  for (let start = 0; start < sizes.length; ) {
    assert.ok(limit !== undefined);
    const page = sizes.slice(start, start + limit.items);
    const bytes = page.reduce((sum, size) => sum + size, 0);
    if (bytes > limit.maxBytes) {
      pages.push({ items: 0, bytes: limit.maxBytes, limit });
      limit = smallerPage(limit);
      continue;
    }
    pages.push({ items: page.length, bytes, limit });
    start += page.length;
    limit = nextPage(limit, page.length, bytes);
  }
  return pages;
}

test('objects of ordinary size come a hundred at a time', () => {
  const pages = read(Array.from({ length: 1000 }, () => 8 * KB));
  assert.deepEqual(
    pages.map(({ items }) => items),
    Array.from({ length: 10 }, () => 100),
  );
});

test('after large objects the pages have few, and more again after small ones', () => {
  const sizes = [...Array.from({ length: 100 }, () => 100 * KB), ...Array.from({ length: 300 }, () => KB)];
  const items = read(sizes).map((page) => page.items);
  assert.deepEqual(items, [0, 12, ...Array.from({ length: 9 }, () => 10), 12, 24, 48, 96, 100, 18]);
});

test('whatever the objects are, no page is larger than 16 MiB, and one of several than 2 MiB', () =>
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 300, max: 9 * MB }), { maxLength: 300 }), (sizes) => {
      const pages = read(sizes);
      for (const { items, bytes } of pages) assert.ok(bytes <= (items === 1 ? 16 : 2) * MB);
      // What is read in vain is bounded by what there is.
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const inVain = pages.filter(({ items }) => items === 0).reduce((sum, { bytes }) => sum + bytes, 0);
      assert.ok(inVain <= 3 * total + 6 * MB, `${inVain} of ${total}`);
    }),
  ));

test('a page with one object cannot become smaller', () => {
  let limit: PageLimit | undefined = firstPage();
  const tried: number[] = [];
  for (; limit !== undefined; limit = smallerPage(limit)) tried.push(limit.items);
  assert.deepEqual(tried, [100, 12, 1]);
});

test('an empty page says nothing about the next', () => {
  assert.equal(nextPage(firstPage(), 0, 200).items, 100);
});
