import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decide, goesBack } from '../../src/admission/decide.ts';
import type { Decision } from '../../src/admission/decision.ts';
import { ownDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { ownHold } from '../../src/api/hold.ts';
import { templateDigest } from '../../src/api/template/template-hash.ts';
import { asObject, type JsonObject } from '../../src/json.ts';
import { deployment } from '../support/unit/deployment-builder.ts';

const HOLD = 'pullgate.io/hold';
const DECIDED = 'pullgate.io/decided';
const HELD = 'pullgate.io/held';
const REVERT = 'pullgate.io/revert';
const REVISION = 'deployment.kubernetes.io/revision';
const START = Date.UTC(2026, 0, 1);

type Annotations = Readonly<Record<string, string>>;

/** What a user changes of the marks in one go; `null` takes one off. */
const marks = fc.record(
  {
    'pullgate.io/bypass': fc.constantFrom('a', 'b', null),
    'pullgate.io/revert': fc.constantFrom('a', 'b', null),
    'pullgate.io/keep-paused': fc.constantFrom('true', null),
    'pullgate.io/min-nodes': fc.constantFrom('1', '50%', null),
  },
  { requiredKeys: [] },
);
const version = fc.constantFrom(1, 2, 3);

type Step =
  | {
      readonly kind: 'update' | 'annotate';
      readonly version: number;
      readonly marks: Readonly<Record<string, string | null>>;
    }
  | { readonly kind: 'ungated' | 'undo' | 'release'; readonly version: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('update' as const, 'annotate' as const), version, marks }),
  fc.record({ kind: fc.constantFrom('ungated' as const, 'undo' as const, 'release' as const), version }),
);

const templates = [1, 2, 3].map((of) =>
  asObject(asObject(deployment().image(`registry.test/app:${of}`).object['spec'])['template']),
);

/** A Deployment, its controller, and users. Nothing is asked of the gate in a step `ungated`. */
function cluster() {
  let stored = deployment().object;
  let now = START;
  /** Annotations of the ReplicaSet of each version. */
  const replicaSets = new Map<number, Annotations>();
  let revision = 3;
  let lastWasUngated = false;
  let reverts = 0;

  const versionOf = (object: unknown) =>
    Number(/app:(\d)/.exec(JSON.stringify(parseDeployment(object).template))?.[1]);
  const withTemplate = (object: JsonObject, of: number): JsonObject => ({
    ...object,
    spec: {
      ...asObject(object['spec']),
      template: asObject(deployment().image(`registry.test/app:${of}`).object['spec'])['template'],
    },
  });
  const withAnnotations = (object: JsonObject, annotations: Annotations): JsonObject => ({
    ...object,
    metadata: { ...asObject(object['metadata']), annotations },
  });

  /** `SetNewReplicaSetAnnotations`: copies every annotation and takes none away; paused, only to a ReplicaSet that there is. */
  function controllerRuns(): void {
    const { annotations, paused } = parseDeployment(stored);
    const current = versionOf(stored);
    if (paused && !replicaSets.has(current)) return;
    if (annotations[REVISION] !== `${revision}` || !replicaSets.has(current)) revision += 1;
    const { [REVISION]: _, ...copied } = annotations;
    replicaSets.set(current, { ...replicaSets.get(current), ...copied });
    stored = withAnnotations(stored, { ...annotations, [REVISION]: `${revision}` });
  }

  function admit(object: JsonObject): Decision {
    const input = {
      mode: 'pause',
      username: 'a-developer',
      gateUsername: 'gate',
      exemptNamespaces: [],
    } as const;
    const before = stored;
    const back = goesBack(before, object, now);
    const template = templates.find((one) => templateDigest(one) === back);
    const running = template === undefined ? undefined : ({ kind: 'found', template } as const);
    const decision = decide({
      ...input,
      oldObject: before,
      object,
      running,
      mayBypass: true,
      mayApprove: true,
      dryRun: false,
      now,
    });
    stored = decision.object;
    if (template !== undefined && decision.kind === 'Reverted') {
      reverts += 1;
      assert.deepEqual(parseDeployment(stored).template, template);
      assert.equal(parseDeployment(stored).annotations[REVERT], undefined);
      assert.equal(parseDeployment(stored).annotations[HOLD], undefined);
    }
    return decision;
  }

  /** As the match condition has it. */
  function isAsked(object: JsonObject): boolean {
    const [before, after] = [parseDeployment(stored).annotations, parseDeployment(object).annotations];
    return versionOf(object) !== versionOf(stored) || HOLD in before || before[DECIDED] !== after[DECIDED];
  }

  function changed(change: Readonly<Record<string, string | null>>): Annotations {
    const all = { ...parseDeployment(stored).annotations, ...change };
    return Object.fromEntries(
      Object.entries(all).flatMap(([key, value]) => (value === null ? [] : [[key, value]])),
    );
  }

  function change(step: Step & { readonly kind: 'update' | 'annotate' }): void {
    const object = withAnnotations(
      step.kind === 'update' ? withTemplate(stored, step.version) : stored,
      changed(step.marks),
    );
    if (versionOf(object) !== versionOf(stored)) lastWasUngated = false;
    if (isAsked(object)) admit(object);
    else stored = object;
  }

  /** One rollout in a row: nothing tells a second one apart. */
  function ungated(of: number): void {
    if (lastWasUngated || parseDeployment(stored).paused || of === versionOf(stored)) return;
    lastWasUngated = true;
    stored = withTemplate(stored, of);
  }

  function release(): void {
    const { labels, annotations } = parseDeployment(stored);
    if (!(HOLD in annotations)) return;
    const { [HOLD]: _, ...left } = annotations;
    const { [HELD]: __, ...others } = labels;
    const spec = { ...asObject(stored['spec']), paused: undefined };
    stored = {
      ...stored,
      spec,
      metadata: { ...asObject(stored['metadata']), labels: others, annotations: left },
    };
  }

  /** kubectl refuses while paused, and for the template that is there. */
  function undo(of: number): Decision | undefined {
    const restored = replicaSets.get(of);
    const { paused, annotations } = parseDeployment(stored);
    if (restored === undefined || paused || of === versionOf(stored)) return undefined;
    lastWasUngated = false;
    const own = { [REVISION]: annotations[REVISION] ?? '' };
    return admit(withAnnotations(withTemplate(stored, of), { ...restored, ...own }));
  }

  return {
    get stored() {
      return stored;
    },
    get reverts() {
      return reverts;
    },
    get now() {
      return now;
    },
    pass(ms: number): void {
      now += ms;
    },
    controllerRuns,
    /** Returns what was decided on an undo. */
    take(step: Step): Decision | undefined {
      switch (step.kind) {
        case 'undo':
          return undo(step.version);
        case 'release':
          release();
          return undefined;
        case 'ungated':
          ungated(step.version);
          return undefined;
        default:
          change(step);
          return undefined;
      }
    },
  };
}

/** The marks that a user sets. */
function wishes(object: unknown): Annotations {
  const { [HOLD]: _h, [DECIDED]: _d, [REVISION]: _r, ...rest } = parseDeployment(object).annotations;
  return rest;
}

test('whatever came before, an undo is no bypass or revert, changes no mark, and begins a hold of its own', () => {
  let held = 0;
  let reverts = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(step, fc.integer({ min: 1, max: 100_000 })), { minLength: 4, maxLength: 20 }),
      (steps) => {
        const world = cluster();
        world.controllerRuns();
        // First of all a decision: of marks from before it nothing can be told.
        world.take({ kind: 'update', version: 2, marks: {} });
        for (const [step, ms] of steps) {
          world.controllerRuns();
          world.pass(ms);
          const before = world.stored;
          const undone = world.take(step);
          if (undone === undefined) continue;
          if (undone.kind === 'Held') held += 1;
          assert.notEqual(undone.kind, 'Bypassed');
          assert.notEqual(undone.kind, 'Reverted');
          assert.deepEqual(wishes(world.stored), wishes(before));
          const after = parseDeployment(world.stored);
          const times = [ownHold(after)?.since, ownDecisionRecord(after)?.at];
          for (const time of times) if (time !== undefined) assert.ok(Date.parse(time) >= world.now, time);
        }
        reverts += world.reverts;
      },
    ),
    { numRuns: 1000 },
  );
  assert.ok(held > 200, `only ${held} undone`);
  assert.ok(reverts > 100, `only ${reverts} reverted`);
});
