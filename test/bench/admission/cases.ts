import { decide } from '../../../src/admission/decide.ts';
import type { DecisionKind } from '../../../src/admission/decision.ts';
import { withMarks } from '../../../src/api/hold.ts';
import type { Mode } from '../../../src/api/names.ts';
import { asObject, type JsonObject } from '../../../src/json.ts';
import { admissionReview } from '../../support/admission-review.ts';
import { deploymentOf, GATE_USER } from './review.ts';

/** In KB of a whole review: a small Deployment, one of a usual size, one that carries its configuration with it. */
export const SIZES_KB = [5, 21, 200] as const;

/** One for each way that an answer can go. */
export const DECISIONS = [
  'no change',
  'hold',
  're-hold',
  'release',
  'reject, ready',
  'reject, not ready',
  'audit',
] as const;
export type DecisionCase = (typeof DECISIONS)[number];

/** As the gate calls them. */
export const DECISION_KINDS: Readonly<Record<DecisionCase, DecisionKind>> = {
  'no change': 'Unchanged',
  hold: 'Held',
  're-hold': 'Reheld',
  release: 'Ignored',
  'reject, ready': 'Preloaded',
  'reject, not ready': 'Rejected',
  audit: 'Audited',
};

export interface ReviewCase {
  readonly decision: DecisionCase;
  readonly sizeKb: number;
  readonly path: string;
  readonly oldObject: JsonObject;
  readonly object: JsonObject;
  readonly body: string;
}

const USER = 'a-developer';
const RUNS = 'registry.example/shop/app:1.4.2';
const NEXT = 'registry.example/shop/app:1.5.0';

export function reviewCase(decision: DecisionCase, sizeKb: number): ReviewCase {
  // Its own name: the double of the API server tells by it what is asked for.
  const name = `${decision.replaceAll(/[^a-z]+/g, '-')}-${sizeKb}`;
  const runs = deploymentOf(name, RUNS, sizeKb * 1024);
  const next = deploymentOf(name, NEXT, sizeKb * 1024);
  const of = (mode: Mode, oldObject: JsonObject, object: JsonObject, username = USER): ReviewCase => {
    const userInfo = { username, groups: ['developers', 'system:authenticated'] };
    const body = JSON.stringify(admissionReview(oldObject, object, { userInfo }));
    return { decision, sizeKb, path: `/admit/${mode}`, oldObject, object, body };
  };
  const held = () => heldObject(runs, next);
  switch (decision) {
    case 'no change':
      return of('pause', runs, annotated(runs));
    case 'hold':
      return of('pause', runs, next);
    case 're-hold':
      return of('pause', held(), annotated(held()));
    case 'release':
      return of('pause', held(), withMarks(held(), { hold: null, paused: false }), GATE_USER);
    case 'reject, ready':
    case 'reject, not ready':
      return of('reject', runs, next);
    case 'audit':
      return of('audit', runs, next);
  }
}

/** As the gate itself makes it. */
function heldObject(oldObject: JsonObject, object: JsonObject): JsonObject {
  return decide({
    mode: 'pause',
    oldObject,
    object,
    username: USER,
    gateUsername: GATE_USER,
    exemptNamespaces: [],
    mayBypass: false,
    mayApprove: false,
    dryRun: false,
    now: Date.parse('2026-01-06T10:00:00Z'),
  }).object;
}

function annotated(object: JsonObject): JsonObject {
  const metadata = asObject(object['metadata']);
  const annotations = { ...asObject(metadata['annotations']), 'example.com/checked-at': '2026-01-06' };
  return { ...object, metadata: { ...metadata, annotations } };
}
