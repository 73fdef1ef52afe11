import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { growth, isAboveLimit, isJudged, type Sample } from '../stress/soak/growth.ts';
import { rememberedImages } from '../stress/soak/remembered-images.ts';
import { slope } from '../stress/soak/slope.ts';

describe('the slope of a soak', () => {
  test('is that of a straight line, without an error', () => {
    const { of, error } = slope([1, 2, 3, 5].map((x) => ({ x, y: 7 - 2 * x })));
    assert.ok(Math.abs(of + 2) < 1e-9 && error < 1e-9, `${of} ± ${error}`);
  });

  test('is as textbooks have it where points scatter', () => {
    const points = [
      { x: 1, y: 2 },
      { x: 2, y: 1 },
      { x: 3, y: 4 },
      { x: 4, y: 3 },
    ];
    // Sums of squares: 5 of x; of what is left 0.16 + 1.44 + 1.44 + 0.16.
    const { of, error } = slope(points);
    assert.ok(Math.abs(of - 0.6) < 1e-9, String(of));
    assert.ok(Math.abs(error - Math.sqrt(3.2 / 2 / 5)) < 1e-9, String(error));
  });

  test('is not known of two points, or where nothing happened in between', () => {
    assert.equal(slope([1, 2].map((x) => ({ x, y: x }))).error, Number.POSITIVE_INFINITY);
    assert.equal(slope([1, 1, 1].map((x) => ({ x, y: x }))).error, Number.POSITIVE_INFINITY);
  });
});

describe('live memory', () => {
  /** Forty samples, each so many holds after the last, with a jump of 10 MB in the first third. */
  function samples(holdsEach: number, mbPer1000Holds: number): Sample[] {
    return Array.from({ length: 40 }, (_, index) => ({
      seconds: 45 * index,
      holds: holdsEach * index,
      liveMb: 60 + (index > 5 ? 10 : 0) + (mbPer1000Holds * holdsEach * index) / 1000 + 0.1 * (index % 3),
      heapMb: 100,
      residentMb: 200,
      cpuSeconds: index,
    }));
  }
  const live = (of: readonly Sample[]) => growth(of, ({ liveMb }) => liveMb);

  test('that jumps at first and stays is within the limit', () => {
    const steady = live(samples(90, 0));
    assert.ok(isJudged(steady));
    assert.equal(isAboveLimit(steady), false);
  });

  test('that keeps one ImagePreload of each hold, 2.2 kB, is above it', () => {
    assert.ok(isAboveLimit(live(samples(90, 2.2))));
  });

  test('is not judged by less than a thousand holds', () => {
    const short = live(samples(10, 50));
    assert.equal(isJudged(short), false);
    assert.equal(isAboveLimit(short), false);
  });
});

test('an image is found in a heap snapshot wherever it is, and its name is not found twice', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'heap');
  const image = (version: string) => `registry.sim/good/soak-1/app-1:v${version}`;
  // Streams come in pieces of 64 KiB: the second name falls between two of them, whole or not.
  const text = `"${image('000001')}"`.padEnd(65_536 - 30) + image('000012');
  writeFileSync(file, `${text}"{\\"image\\":\\"${image('000001')}\\"}" registry.sim/good/soak-1/app-1:v12 `);
  assert.deepEqual([...(await rememberedImages(file))], [image('000001'), image('000012')]);
});
