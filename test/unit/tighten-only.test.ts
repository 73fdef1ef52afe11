import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  DEADLINE_ANNOTATION,
  MIN_NODES_ANNOTATION,
  NODE_SELECTOR_ANNOTATION,
  NODE_TIMEOUT_ANNOTATION,
  PARALLELISM_ANNOTATION,
} from '../../src/api/names.ts';
import { gateWorld, type World, type WorldOptions } from '../support/unit/gate-world.ts';
import { heldObject, updated } from '../support/unit/held-deployment.ts';

const STRICT: WorldOptions = { settings: { tightenOnly: true } };
const HOUR = 3600_000;

/** Held with this annotation; one node of two has the image at once, the other one never gets it. */
async function holding(annotation: string, value: string, options: WorldOptions = STRICT): Promise<World> {
  const world = gateWorld(options);
  world.start();
  world.hold(heldObject(updated.annotate(annotation, value)));
  await world.pass(100);
  world.pulled('n1');
  return world;
}

const notes = ({ events }: World, reason: string) =>
  events.filter((event) => event.reason === reason).map(({ note }) => note);

describe('where loosening needs a permission, a Deployment that asks for it is held as the flags say', () => {
  for (const [annotation, value, flag] of [
    [MIN_NODES_ANNOTATION, '1', 'a percentage of at least 100%, because --bypass-needs-permission is set'],
    [MIN_NODES_ANNOTATION, '50%', 'a percentage of at least 100%, because --bypass-needs-permission is set'],
    [NODE_TIMEOUT_ANNOTATION, '1', 'at least 900, because --bypass-needs-permission is set'],
    [DEADLINE_ANNOTATION, '1', 'at least 3600, because --bypass-needs-permission is set'],
    [NODE_SELECTOR_ANNOTATION, 'no=node', 'absent, because --bypass-needs-permission is set'],
  ] as const) {
    test(`${annotation}: ${value}`, async () => {
      const loose = await holding(annotation, value, {});
      await loose.pass(HOUR / 6);
      assert.equal(loose.web().paused, false, 'it ends the hold elsewhere');

      const strict = await holding(annotation, value);
      await strict.pass(HOUR / 6);
      assert.equal(strict.web().paused, true);
      const [note = '', ...others] = [...new Set(notes(strict, 'InvalidSetting'))];
      assert.deepEqual(others, []);
      assert.ok(note.includes(`it must be ${flag}; `), note);
    });
  }
});

describe('there, one that is stricter counts', () => {
  for (const [annotation, value, field] of [
    [MIN_NODES_ANNOTATION, '100%', { minNodes: '100%' }],
    [NODE_TIMEOUT_ANNOTATION, '1800', { nodeTimeoutSeconds: 1800 }],
    [DEADLINE_ANNOTATION, '7200', { deadlineSeconds: 7200 }],
    [PARALLELISM_ANNOTATION, '1', { parallelism: 1 }],
  ] as const) {
    test(`${annotation}: ${value}`, async () => {
      const world = await holding(annotation, value);
      await world.pass(1000);
      assert.partialDeepStrictEqual(world.preload().spec, field);
      assert.deepEqual(notes(world, 'InvalidSetting'), []);
    });
  }
});
