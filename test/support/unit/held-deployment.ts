import { type Deployment, parseDeployment } from '../../../src/api/deployment.ts';
import type { Hold } from '../../../src/api/hold.ts';
import { withMarks } from '../../../src/api/hold.ts';
import { runningTemplate } from '../../../src/api/images-to-pull.ts';
import { preloadName } from '../../../src/api/preload-name.ts';
import { templateHash } from '../../../src/api/template/template-hash.ts';
import type { JsonObject } from '../../../src/json.ts';
import { type DeploymentBuilder, deployment, UID } from './deployment-builder.ts';

/** When the holds of the tests begin. */
export const SINCE = '2026-01-01T00:00:00.000Z';

/** `registry.test/app:1` runs, `registry.test/app:2` is asked for. */
export const updated: DeploymentBuilder = deployment().image('registry.test/app:2');

export function holdOf(builder: DeploymentBuilder = updated, fields: Partial<Hold> = {}): Hold {
  const { template, name, revision } = parseDeployment(builder.object);
  const hash = templateHash(template);
  return {
    v: 1,
    uid: UID,
    preload: preloadName({ name, uid: UID, revision }, hash),
    template: hash,
    from: runningTemplate(parseDeployment(deployment().object).template),
    since: SINCE,
    userPaused: false,
    ...fields,
  };
}

/** The update as it is stored while it is held. */
export function heldObject(builder: DeploymentBuilder = updated, fields: Partial<Hold> = {}): JsonObject {
  return withMarks(builder.object, { hold: holdOf(builder, fields), paused: true });
}

export function held(builder: DeploymentBuilder = updated, fields: Partial<Hold> = {}): Deployment {
  return parseDeployment(heldObject(builder, fields));
}
