import { decide } from '../../../src/admission/decide.ts';
import type { DecideInput, Decision } from '../../../src/admission/decision.ts';
import type { JsonObject } from '../../../src/json.ts';

/** When each of these updates is decided, in milliseconds since the epoch. */
export const NOW = Date.UTC(2026, 0, 1);

/** Decides on an update in mode `pause` by a user who may bypass; `more` replaces any of that. */
export function decideUpdate(
  oldObject: JsonObject,
  object: JsonObject,
  more: Partial<DecideInput> = {},
): Decision {
  return decide({
    mode: 'pause',
    oldObject,
    object,
    username: 'a-developer',
    gateUsername: 'gate',
    exemptNamespaces: [],
    mayBypass: true,
    mayApprove: true,
    dryRun: false,
    now: NOW,
    ...more,
  });
}
