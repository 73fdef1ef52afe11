import { withMarks } from '../../../src/api/hold.ts';
import { asObject, type JsonObject } from '../../../src/json.ts';
import { admissionReview } from '../../support/admission-review.ts';
import type { Random } from '../../support/random.ts';
import { type DeploymentBuilder, deployment } from '../../support/unit/deployment-builder.ts';
import { heldObject, updated } from '../../support/unit/held-deployment.ts';

export const GATE_USER = 'system:serviceaccount:pullgate:pullgate';
/** The one that may bypass. */
export const ADMIN = 'an-admin';

/** An old and a new object. */
type Update = readonly [JsonObject, JsonObject];

const running = deployment();
const held = heldObject();
const richer = (builder: DeploymentBuilder) =>
  builder
    .image(
      'registry.test/proxy@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
      'proxy',
    )
    .initContainer('migrate', 'busybox')
    .imageVolume('models', 'registry.test/models:1')
    .annotate('example.com/a~b', 'note')
    .policy('Always');

/** What can happen to a Deployment; each by the way the gate takes. */
const UPDATES: Readonly<Record<string, Update>> = {
  hold: [running.object, updated.object],
  'hold of several images': [richer(running).object, richer(updated).object],
  'restart under policy Always': [
    running.policy('Always').object,
    running.policy('Always').restartedAt('2026-01-01T00:00:00Z').object,
  ],
  'hold of what the user paused': [running.object, updated.spec({ paused: true }).object],
  'no pull': [running.object, running.restartedAt('2026-01-01T00:00:00Z').object],
  'no replicas': [running.object, updated.spec({ replicas: 0 }).object],
  'scale only': [running.object, running.spec({ replicas: 7 }).object],
  'status only': [running.object, { ...running.object, status: { observedGeneration: 4, replicas: 3 } }],
  're-hold': [held, changed(held, { annotations: { 'example.com/note': 'x' } })],
  're-hold of a whole manifest': [held, updated.object],
  'resume while held': [held, changed(held, {}, { paused: false })],
  supersede: [held, heldObject(updated.image('registry.test/app:3'))],
  'supersede by a whole manifest': [held, updated.image('registry.test/app:3').object],
  revert: [held, running.object],
  bypass: [running.object, updated.annotate('pullgate.io/bypass', 'urgent').object],
  'bypass while held': [held, changed(held, { annotations: { 'pullgate.io/bypass': 'urgent' } })],
  off: [running.object, updated.label('pullgate.io/mode', 'off').object],
  'off while held': [held, changed(held, { labels: { 'pullgate.io/mode': 'off' } })],
  'keep paused': [heldObject(updated.annotate('pullgate.io/keep-paused', 'true')), running.object],
  'a hold of another Deployment': [running.object, heldObject(updated, { uid: 'another' })],
  'a hold that was resumed': [withMarks(held, { paused: false }), held],
  deleted: [held, changed(held, { deletionTimestamp: '2026-01-01T00:00:00Z' })],
};

/** As an API server sends it. */
export function realisticReview(random: Random): JsonObject {
  const [oldObject, object] = random.pick(Object.values(UPDATES));
  return admissionReview(oldObject, object, {
    uid: `request-${random.below(1000)}`,
    userInfo: {
      username: random.pick(['a-developer', 'a-developer', ADMIN, GATE_USER]),
      uid: '7',
      groups: ['dev', 'system:authenticated'],
      extra: { scopes: ['a'] },
    },
    dryRun: random.chance(0.2),
  });
}

function changed(object: JsonObject, metadata: JsonObject, spec: JsonObject = {}): JsonObject {
  const before = asObject(object['metadata']);
  const merged = Object.entries(metadata).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : { ...asObject(before[key]), ...asObject(value) },
  ]);
  return {
    ...object,
    metadata: { ...before, ...Object.fromEntries(merged) },
    spec: { ...asObject(object['spec']), ...spec },
  };
}
