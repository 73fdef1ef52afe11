import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decide, endsGating } from '../../src/admission/decide.ts';
import type { DecideInput, Decision } from '../../src/admission/decision.ts';
import { warningsFor } from '../../src/admission/warnings.ts';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseHold } from '../../src/api/hold.ts';
import { MODES } from '../../src/api/names.ts';
import type { PreloadProgress } from '../../src/api/preload-progress.ts';
import { templateHash } from '../../src/api/template/template-hash.ts';
import type { JsonObject } from '../../src/json.ts';
import { type DeploymentBuilder, deployment, UID } from '../support/unit/deployment-builder.ts';

const GATE = 'system:serviceaccount:pullgate:pullgate';
const NOW = Date.UTC(2026, 0, 1);
const V2 = 'registry.test/app:2';
const V3 = 'registry.test/app:3';

type Update = Partial<Omit<DecideInput, 'object' | 'oldObject'>>;

function update(old: JsonObject, object: JsonObject, more: Update = {}): Decision {
  return decide({
    mode: 'pause',
    oldObject: old,
    object,
    username: 'a-developer',
    gateUsername: GATE,
    exemptNamespaces: ['kube-system'],
    mayBypass: true,
    mayApprove: true,
    dryRun: false,
    now: NOW,
    ...more,
  });
}

const web = deployment();

/** What stands on an object, as a reader of the stored Deployment sees it. */
function marks(object: JsonObject) {
  const { annotations, labels, paused } = parseDeployment(object);
  const hold = parseHold(annotations['pullgate.io/hold']);
  const decided = parseDecisionRecord(annotations['pullgate.io/decided']);
  return { hold, decided, paused, label: labels['pullgate.io/held'] };
}

/** The builder with the marks that a decision left. */
function stored(builder: DeploymentBuilder, decision: Decision): DeploymentBuilder {
  const { annotations, labels, paused } = parseDeployment(decision.object);
  let result = builder.spec(paused ? { paused } : { paused: undefined });
  for (const name of ['pullgate.io/hold', 'pullgate.io/decided'])
    result = result.annotate(name, annotations[name] ?? null);
  return result.label('pullgate.io/held', labels['pullgate.io/held'] ?? null);
}

/** web, held at v2. */
function heldAt(v2: DeploymentBuilder = web.image(V2), from: DeploymentBuilder = web): DeploymentBuilder {
  const decision = update(from.object, v2.object);
  assert.equal(decision.kind, 'Held');
  return stored(v2, decision);
}

function assertHeld(decision: Decision): void {
  const { hold, paused, label } = marks(decision.object);
  assert.deepEqual(hold, decision.hold);
  assert.ok(hold);
  assert.deepEqual([paused, label], [true, 'true']);
}

function assertFree(decision: Decision, { paused = false } = {}): void {
  assert.equal(decision.hold, undefined);
  const { annotations, labels } = parseDeployment(decision.object);
  assert.equal(annotations['pullgate.io/hold'], undefined);
  assert.equal(labels['pullgate.io/held'], undefined);
  assert.equal(marks(decision.object).paused, paused);
}

describe('a hold begins', () => {
  test('when a container gets another image', () => {
    const decision = update(web.object, web.image(V2).object);
    assert.equal(decision.kind, 'Held');
    assertHeld(decision);
    assert.deepEqual(decision.images, [V2]);
    assert.equal(decision.hold?.uid, UID);
    assert.deepEqual(decision.hold?.from.images, { app: 'registry.test/app:1' });
    assert.equal(decision.hold?.since, '2026-01-01T00:00:00.000Z');
    assert.equal(decision.hold?.userPaused, false);
  });

  test('and says on the Deployment who decided what, and when', () => {
    const { decided, hold } = marks(update(web.object, web.image(V2).object).object);
    assert.deepEqual(decided, {
      uid: UID,
      template: hold?.template,
      decision: 'Held',
      by: 'a-developer',
      at: '2026-01-01T00:00:00.000Z',
      reason: V2,
    });
  });

  const needing: [string, DeploymentBuilder][] = [
    ['an init container gets another image', web.initContainer('migrate', V2)],
    ['an image volume is added', web.imageVolume('models', 'registry.test/models:7')],
    ['a container is added', web.image('registry.test/proxy:1', 'proxy')],
    ['a digest is added to the same tag', web.image(`registry.test/app:1@sha256:${'0'.repeat(64)}`)],
    ['the image is one that no registry could have', web.image('Not An Image')],
  ];
  for (const [what, next] of needing) {
    test(`when ${what}`, () => assertHeld(update(web.object, next.object)));
  }

  test('when a restart meets policy Always, said or implied by the tag', () => {
    for (const running of [web.policy('Always'), web.image('busybox'), web.image('busybox:latest')]) {
      const decision = update(running.object, running.restartedAt('today').object);
      assert.equal(decision.kind, 'Held');
      assertHeld(decision);
    }
  });

  test('under the uid of the old object where the new one has none', () => {
    const decision = update(web.object, web.image(V2).metadata({ uid: '' }).object);
    assert.equal(decision.hold?.uid, UID);
    assertHeld(decision);
  });

  test('and waits for the preload of this transition: the same name for a retry, another one after a rollout', () => {
    const name = (old: DeploymentBuilder, next: DeploymentBuilder, now = NOW) =>
      update(old.object, next.object, { now }).hold?.preload;
    assert.equal(name(web, web.image(V2)), name(web, web.image(V2), NOW + 60_000));
    assert.notEqual(name(web, web.image(V2)), name(web, web.image(V3)));
    const later = web.annotate('deployment.kubernetes.io/revision', '5');
    assert.notEqual(name(web, web.image(V2)), name(later, later.image(V2)));
  });
});

describe('no hold begins', () => {
  const free: [string, DeploymentBuilder, DeploymentBuilder, string][] = [
    ['for a change outside of the template', web, web.spec({ replicas: 5 }), 'Unchanged'],
    ['for a restart with policy IfNotPresent', web, web.restartedAt('today'), 'NotNeeded'],
    ['for policy Never', web, web.image(V2).policy('Never'), 'NotNeeded'],
    ['for zero replicas', web, web.image(V2).spec({ replicas: 0 }), 'NotNeeded'],
    ['where nothing runs yet', web.spec({ replicas: 0 }), web.image(V2).spec({ replicas: 2 }), 'NotNeeded'],
    [
      'for another way to write the same image',
      web.image('busybox:1'),
      web.image('docker.io/library/busybox:1'),
      'NotNeeded',
    ],
    ['for an image that another container had', web, web.image('registry.test/app:1', 'twin'), 'NotNeeded'],
    ['for an empty image that is filled in later', web, web.image(''), 'NotNeeded'],
    [
      'for policy Always if nothing changed',
      web.policy('Always'),
      web.policy('Always').label('a', 'b'),
      'Unchanged',
    ],
  ];
  for (const [what, old, next, kind] of free) {
    test(what, () => {
      const decision = update(old.object, next.object);
      assert.equal(decision.kind, kind);
      assertFree(decision);
    });
  }

  test('where the template differs only in what API servers write differently', () => {
    const object = web.object;
    const spec = object['spec'] as JsonObject;
    const template = spec['template'] as JsonObject;
    const written = {
      ...object,
      spec: { ...spec, template: { ...template, metadata: { labels: { app: 'web' } } } },
    };
    assert.equal(update(object, written).object, written);
  });

  test('for a Deployment that is being deleted', () => {
    const { object } = web.image(V2).metadata({ deletionTimestamp: '2026-01-01T00:00:00Z' });
    const decision = update(web.object, object);
    assert.equal(decision.kind, 'Ignored');
    assert.equal(decision.object, object);
  });

  test('in a namespace that is never gated, nor for the gate itself', () => {
    const inSystem = web.metadata({ namespace: 'kube-system' });
    assert.equal(update(inSystem.object, inSystem.image(V2).object).kind, 'Ignored');
    assert.equal(update(web.object, web.image(V2).object, { username: GATE }).kind, 'Ignored');
  });

  test('and an update that needs nothing comes back as the very same object', () => {
    const { object } = web.spec({ replicas: 5 });
    assert.equal(update(web.object, object).object, object);
  });
});

describe('while held', () => {
  test('an update of something else stays held', () => {
    const held = heldAt();
    const decision = update(held.object, held.spec({ paused: true, replicas: 9 }).object);
    assert.equal(decision.kind, 'Reheld');
    assertHeld(decision);
    assert.equal(decision.resumeAsked, false);
  });

  test('a manifest without any of the marks is held again, as it was', () => {
    const held = heldAt();
    const decision = update(held.object, web.image(V2).object, { now: NOW + 5000 });
    assert.equal(decision.kind, 'Reheld');
    assertHeld(decision);
    assert.equal(decision.hold?.since, '2026-01-01T00:00:00.000Z');
  });

  test('resuming does not let it through, and is remembered as the wish it is', () => {
    const paused = web.spec({ paused: true });
    const held = heldAt(paused.image(V2), paused);
    assert.equal(marks(held.object).hold?.userPaused, true);
    for (const resumed of [held.spec({ paused: false }), held.spec({ paused: null })]) {
      const decision = update(held.object, resumed.object);
      assert.equal(decision.kind, 'Reheld');
      assertHeld(decision);
      assert.equal(decision.resumeAsked, true);
      assert.equal(decision.hold?.userPaused, false);
    }
  });

  test('a third image supersedes, and what runs is still what it is compared with', () => {
    const held = heldAt();
    const decision = update(held.object, held.image(V3).object, { now: NOW + 5000 });
    assert.equal(decision.kind, 'Superseded');
    assertHeld(decision);
    const before = marks(held.object).hold;
    assert.deepEqual(decision.hold?.from, before?.from);
    assert.notEqual(decision.hold?.preload, before?.preload);
    assert.equal(decision.hold?.since, '2026-01-01T00:00:05.000Z');
    assert.deepEqual(decision.images, [V3]);
    assert.equal(marks(decision.object).decided?.decision, 'Superseded');
  });

  test('going back to what runs ends the hold in that same update', () => {
    const held = heldAt();
    const decision = update(held.object, held.image('registry.test/app:1').object);
    assert.equal(decision.kind, 'Reverted');
    assertFree(decision);
    assert.equal(marks(decision.object).decided?.decision, 'Reverted');
  });

  test("a revert leaves the user's own pause", () => {
    const paused = web.spec({ paused: true });
    const held = heldAt(paused.image(V2), paused);
    assertFree(update(held.object, held.image('registry.test/app:1').object), { paused: true });
  });

  test('keep-paused leaves the Deployment paused when the hold ends', () => {
    const held = heldAt().annotate('pullgate.io/keep-paused', 'true');
    assertFree(update(held.object, held.image('registry.test/app:1').object), { paused: true });
  });

  test('the release by the gate passes as it comes', () => {
    const held = heldAt();
    const { object } = web.image(V2);
    assert.equal(update(held.object, object, { username: GATE }).object, object);
  });

  test('a policy that never pulls ends the hold', () => {
    const held = heldAt();
    assertFree(update(held.object, held.policy('Never').object));
  });
});

describe('a bypass', () => {
  const urgent = (builder: DeploymentBuilder, reason = 'urgent') =>
    builder.annotate('pullgate.io/bypass', reason);

  test('in the update that brings the image lets it through', () => {
    const decision = update(web.object, urgent(web.image(V2)).object);
    assert.equal(decision.kind, 'Bypassed');
    assertFree(decision);
    assert.equal(marks(decision.object).decided?.reason, 'urgent');
  });

  test('ends a hold', () => {
    const held = heldAt();
    const decision = update(held.object, urgent(held).object);
    assert.equal(decision.kind, 'Bypassed');
    assertFree(decision);
  });

  test('is honoured once: the same value is not one again, another value is', () => {
    const before = urgent(web);
    assert.equal(update(before.object, before.image(V2).object).kind, 'Held');
    assert.equal(update(before.object, urgent(before.image(V2), 'again').object).kind, 'Bypassed');
    const held = heldAt(before.image(V2), before);
    assert.equal(update(held.object, held.spec({ paused: true, replicas: 1 }).object).kind, 'Reheld');
  });

  test('by a user who may not is refused, and it stays held', () => {
    const begun = update(web.object, urgent(web.image(V2)).object, { mayBypass: false });
    assert.equal(begun.kind, 'Held');
    assert.equal(begun.bypassRefused, true);
    const held = heldAt();
    const decision = update(held.object, urgent(held).object, { mayBypass: false });
    assert.equal(decision.kind, 'Reheld');
    assert.equal(decision.bypassRefused, true);
    assertHeld(decision);
  });

  test('with an empty reason is none', () => {
    assert.equal(update(web.object, urgent(web.image(V2), '').object).kind, 'Held');
  });
});

describe('opting out', () => {
  const off = (builder: DeploymentBuilder) => builder.label('pullgate.io/mode', 'off');

  test('lets through this image and the following ones', () => {
    const first = update(web.object, off(web.image(V2)).object);
    assert.equal(first.kind, 'OptedOut');
    assertFree(first);
    const second = update(off(web).object, off(web.image(V2)).object, { mayBypass: false });
    assert.equal(second.kind, 'OptedOut');
    assertFree(second);
  });

  test('is recorded with the user, also if nothing else changes', () => {
    const decision = update(web.object, off(web).object);
    assert.equal(decision.kind, 'OptedOut');
    const { decided } = marks(decision.object);
    assert.deepEqual([decided?.decision, decided?.by], ['OptedOut', 'a-developer']);
  });

  test('ends a hold', () => {
    const held = heldAt();
    const decision = update(held.object, off(held).object);
    assert.equal(decision.kind, 'OptedOut');
    assertFree(decision);
  });

  test('is denied to a user who may not, held or not', () => {
    const held = heldAt();
    for (const old of [web, held]) {
      const { object } = off(old);
      const decision = update(old.object, object, { mayBypass: false });
      assert.equal(decision.kind, 'Refused');
      assert.equal(decision.object, object);
    }
  });
});

describe('the permission is asked for', () => {
  test('only by an update that sets or changes a bypass, or that opts out', () => {
    const bypassed = web.annotate('pullgate.io/bypass', 'a');
    const off = web.label('pullgate.io/mode', 'off');
    assert.equal(endsGating(web.object, web.image(V2).object, NOW), false);
    assert.equal(endsGating(web.object, bypassed.object, NOW), true);
    assert.equal(endsGating(bypassed.object, bypassed.image(V2).object, NOW), false);
    assert.equal(endsGating(web.object, off.object, NOW), true);
    assert.equal(endsGating(off.object, web.object, NOW), false);
  });
});

describe("a hold that is not this Deployment's", () => {
  const copyOf = (held: DeploymentBuilder) => held.metadata({ uid: 'another' });

  test('it goes, and its pause stays where that is asked for', () => {
    const copy = copyOf(heldAt()).annotate('pullgate.io/keep-paused', 'true');
    const { object } = update(copy.object, copy.spec({ paused: true, replicas: 1 }).object);
    assert.deepEqual([marks(object).hold, marks(object).paused], [undefined, true]);
  });

  test('is no hold: it goes with the next update, and its pause with it', () => {
    const copy = copyOf(heldAt());
    const decision = update(copy.object, copy.spec({ paused: true, replicas: 1 }).object);
    assert.equal(decision.kind, 'Unchanged');
    assertFree(decision);
  });

  test('makes room for its own where the image changes', () => {
    const copy = copyOf(heldAt());
    const decision = update(copy.object, copy.image(V3).object);
    assert.equal(decision.kind, 'Held');
    assert.equal(decision.hold?.uid, 'another');
    assert.equal(decision.hold?.userPaused, false);
  });

  test('that an update brings along goes, and the pause the Deployment had stays', () => {
    const brought = heldAt().metadata({ uid: 'another' });
    const unheld = web.image(V2).metadata({ uid: 'another' });
    assertFree(update(unheld.object, brought.object));
    assertFree(update(unheld.spec({ paused: true }).object, brought.object), { paused: true });
  });

  for (const junk of ['not json', '{}', '[]', 'null', '{"v":2}', '"\\u0000"']) {
    test(`goes with its pause if it is ${junk}`, () => {
      const odd = web
        .annotate('pullgate.io/hold', junk)
        .label('pullgate.io/held', 'true')
        .spec({ paused: true });
      assertFree(update(odd.object, odd.label('a', 'b').object));
    });
  }

  test('planted for an image that needs no hold is not believed', () => {
    const planted = heldAt(web.image(V2), web);
    const decision = update(web.image(V2).object, planted.object);
    assert.equal(decision.kind, 'Unchanged');
    assertFree(decision);
  });

  test('whose preload is no name is not believed', () => {
    const held = heldAt();
    const { hold } = marks(held.object);
    const odd = held.annotate('pullgate.io/hold', JSON.stringify({ ...hold, preload: 'x; rm -rf /' }));
    assertFree(update(odd.object, odd.spec({ paused: true, replicas: 1 }).object));
  });

  test('and the label alone is no hold: it goes', () => {
    const odd = web.label('pullgate.io/held', 'true');
    assertFree(update(web.object, odd.object));
    assertFree(update(web.spec({ paused: true }).object, odd.spec({ paused: true }).object), {
      paused: true,
    });
  });
});

describe('called again after another webhook has changed the template', () => {
  const digest = `registry.test/app@sha256:${'a'.repeat(64)}`;

  for (const [before, asked] of [
    [false, true],
    [true, false],
  ]) {
    test(`it still knows that the update ${asked ? 'paused' : 'resumed'}`, () => {
      const old = web.spec({ paused: before });
      const first = update(old.object, web.spec({ paused: asked }).image(V2).object);
      const second = update(old.object, stored(web.image(digest), first).object);
      assert.equal(second.kind, 'Held');
      assert.equal(second.hold?.userPaused, asked);
      assertHeld(second);
    });
  }

  test('it still knows that the update of a held Deployment resumed', () => {
    const paused = web.spec({ paused: true });
    const held = heldAt(paused.image(V2), paused);
    const first = update(held.object, held.spec({ paused: false }).image(V3).object);
    const changed = stored(held.image(digest), first);
    assert.equal(update(held.object, changed.object).hold?.userPaused, false);
    const reverted = stored(held.image('registry.test/app:1'), first);
    assertFree(update(held.object, reverted.object));
  });
});

describe('a hold whose pause somebody took away while the gate was down', () => {
  test("a pause that a user asks for before the hold is dropped is the user's own", () => {
    const resumed = heldAt().spec({ paused: undefined });
    const { kind, object } = update(resumed.object, resumed.spec({ paused: true }).object);
    assert.equal(kind, 'Unchanged');
    assert.deepEqual([marks(object).hold, marks(object).paused], [undefined, true]);
  });

  const resumed = heldAt().spec({ paused: undefined });

  test('is dropped: a rollout that has begun is never paused half way', () => {
    const decision = update(resumed.object, resumed.spec({ replicas: 5 }).object);
    assert.equal(decision.kind, 'Unchanged');
    assertFree(decision);
  });

  test('does not keep the next image from being held, compared with what is rolling out', () => {
    const decision = update(resumed.object, resumed.image(V3).object);
    assert.equal(decision.kind, 'Held');
    assertHeld(decision);
    assert.deepEqual(decision.hold?.from.images, { app: V2 });
  });
});

const FAR: Omit<PreloadProgress, 'outcome'> = {
  readyNodes: 1,
  desiredNodes: 3,
  elapsedSeconds: 10,
  remainingSeconds: undefined,
};
const progress = (outcome: PreloadProgress['outcome']): PreloadProgress => ({ ...FAR, outcome });
const READY = progress({ kind: 'release', message: '3 of 3 nodes have every image' });

describe('in mode reject', () => {
  const reject = (old: DeploymentBuilder, next: DeploymentBuilder, more: Update = {}) =>
    update(old.object, next.object, { mode: 'reject', ...more });

  test('an update that needs an image asks for its preload, the one that a hold would wait for', () => {
    const { asks, kind, images } = reject(web, web.image(V2));
    const hold = update(web.object, web.image(V2).object).hold;
    assert.deepEqual([kind, images], ['Rejected', [V2]]);
    assert.deepEqual(asks, { preload: hold?.preload, from: hold?.from, object: web.image(V2).object });
  });

  test('it is denied as it came, without any mark, until the preload is ready', () => {
    for (const outcome of [{ kind: 'wait' }, { kind: 'stale' }] as const) {
      const { object } = web.image(V2);
      const decision = update(web.object, object, { mode: 'reject', progress: progress(outcome) });
      assert.equal(decision.kind, 'Rejected');
      assert.equal(decision.object, object);
      assert.equal(decision.denial?.code, 429);
    }
  });

  test('it is denied for good while the image cannot be pulled', () => {
    const failed = progress({ kind: 'fail', message: 'not found (NotFound)' });
    const { denial } = reject(web, web.image(V2), { progress: failed });
    assert.deepEqual([denial?.code, denial?.retryAfterSeconds], [403, undefined]);
    assert.match(denial?.message ?? '', /not found \(NotFound\)/);
  });

  test('it passes once the preload is ready, and says so on the Deployment', () => {
    const decision = reject(web, web.image(V2), { progress: READY });
    assert.equal(decision.kind, 'Preloaded');
    assert.deepEqual([decision.denial, decision.asks], [undefined, undefined]);
    assertFree(decision);
    const { decided } = marks(decision.object);
    assert.deepEqual(
      [decided?.decision, decided?.by, decided?.reason],
      ['Preloaded', 'a-developer', '3 of 3 nodes have every image'],
    );
  });

  test("a pause that is the user's own stays when it passes", () => {
    const paused = web.spec({ paused: true });
    assertFree(reject(paused, paused.image(V2), { progress: READY }), { paused: true });
  });

  test('what needs no image, is let through by bypass or opts out asks for nothing', () => {
    const urgent = web.image(V2).annotate('pullgate.io/bypass', 'urgent');
    for (const [next, kind] of [
      [web.spec({ replicas: 5 }), 'Unchanged'],
      [web.restartedAt('today'), 'NotNeeded'],
      [web.image(V2).spec({ replicas: 0 }), 'NotNeeded'],
      [urgent, 'Bypassed'],
      [web.image(V2).label('pullgate.io/mode', 'off'), 'OptedOut'],
    ] as const) {
      const decision = reject(web, next);
      assert.deepEqual([decision.kind, decision.asks, decision.denial], [kind, undefined, undefined]);
    }
    const refused = reject(web, urgent, { mayBypass: false });
    assert.deepEqual([refused.kind, refused.bypassRefused], ['Rejected', true]);
  });

  test('a hold from before is carried on as in mode pause, and asks for nothing', () => {
    const held = heldAt();
    for (const [next, kind] of [
      [held.spec({ paused: true, replicas: 9 }), 'Reheld'],
      [held.image(V3), 'Superseded'],
      [held.image('registry.test/app:1'), 'Reverted'],
      [held.annotate('pullgate.io/bypass', 'urgent'), 'Bypassed'],
    ] as const) {
      const decision = reject(held, next);
      assert.equal(decision.kind, kind);
      assert.deepEqual(decision, update(held.object, next.object));
      assert.equal(decision.asks, undefined);
    }
  });
});

describe('in mode audit', () => {
  test('an update that needs an image passes unpaused, and is recorded with what it needs', () => {
    const decision = update(web.object, web.image(V2).object, { mode: 'audit' });
    assert.deepEqual([decision.kind, decision.images], ['Audited', [V2]]);
    assert.deepEqual([decision.denial, decision.asks], [undefined, undefined]);
    assertFree(decision);
    const { decided } = marks(decision.object);
    assert.deepEqual([decided?.decision, decided?.by, decided?.reason], ['Audited', 'a-developer', V2]);
  });

  test('its warning says what mode pause would do, and offers no command', () => {
    const decision = update(web.object, web.image(V2).object, { mode: 'audit' });
    assert.deepEqual(warningsFor(decision, { namespace: 'shop', name: 'web' }, NOW), [
      `pullgate: shop/web would be held in mode pause until its nodes have ${V2}`,
    ]);
  });

  test("the user's own pause stays, and what needs nothing is as in mode pause", () => {
    const paused = web.spec({ paused: true });
    assertFree(update(paused.object, paused.image(V2).object, { mode: 'audit' }), { paused: true });
    assert.equal(update(web.object, web.restartedAt('x').object, { mode: 'audit' }).kind, 'NotNeeded');
  });
});

describe('who decided what cannot be forged', () => {
  const forged = JSON.stringify({
    template: templateHash(parseDeployment(web.object).template),
    decision: 'Bypassed',
    by: 'admin',
    at: '2026-01-01T00:00:00.000Z',
    reason: 'admin says so',
  });
  const decidedOn = (decision: Decision) =>
    parseDeployment(decision.object).annotations['pullgate.io/decided'];

  for (const mode of MODES) {
    test(`in mode ${mode}, not on a Deployment that is not held`, () => {
      const brought = web.annotate('pullgate.io/decided', forged);
      const first = update(web.object, brought.object, { mode });
      assert.deepEqual([first.kind, decidedOn(first)], ['Unchanged', undefined]);
      const before = web.annotate('pullgate.io/decided', 'what was decided before');
      assert.equal(decidedOn(update(before.object, brought.object, { mode })), 'what was decided before');
      assert.equal(decidedOn(update(before.object, web.object, { mode })), 'what was decided before');
    });

    test(`in mode ${mode}, not on one that is held`, () => {
      const held = heldAt();
      const before = parseDeployment(held.object).annotations['pullgate.io/decided'];
      assert.ok(before);
      const decision = update(held.object, held.annotate('pullgate.io/decided', forged).object, { mode });
      assert.deepEqual([decision.kind, decidedOn(decision)], ['Reheld', before]);
    });
  }
});

test('where the cluster has AlwaysPullImages a restart is held, and going back ends the hold', () => {
  const restarted = web.policy('IfNotPresent').restartedAt('2026-01-01T00:00:00Z');
  const running = web.policy('IfNotPresent');
  assert.equal(update(running.object, restarted.object).kind, 'NotNeeded');
  const more = { rules: { alwaysPullImages: true } };
  const held = update(running.object, restarted.object, more);
  assert.equal(held.kind, 'Held');
  assert.equal(update(stored(restarted, held).object, running.object, more).kind, 'Reverted');
});
