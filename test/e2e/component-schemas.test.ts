import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { before, test } from 'node:test';
import { asString, at } from '../../src/json.ts';
import { attach, type Lab } from '../cluster/lab/lab.ts';
import { rendered } from '../support/e2e/in-cluster-gate.ts';
import { schemaViolations } from '../support/unit/manifest-schema.ts';

const COMPONENTS = readdirSync(resolve(import.meta.dirname, '../../deploy/components'));
let lab: Lab;

before(async () => {
  lab = await attach();
});

for (const components of [[], ...COMPONENTS.map((one) => [one])]) {
  test(`what kubectl builds ${components.join('') || 'without components'} is as the schemas say`, async (t) => {
    for (const object of await rendered(t, lab, components)) {
      const name = `${asString(object['kind'])} ${asString(at(object, 'metadata', 'name'))}`;
      assert.deepEqual(await schemaViolations(object), [], name);
    }
  });
}
