import { parseDeployment } from '../api/deployment.ts';
import { type Floor, invalidSettingText, settingsOf } from '../api/settings.ts';
import type { Decision, DecisionKind } from './decision.ts';

/** The decisions after which a preload is made, or goes on. */
const PRELOADING: ReadonlySet<DecisionKind> = new Set([
  'Held',
  'Superseded',
  'Reheld',
  'Audited',
  'Rejected',
]);

/**
 * Returns a sentence for each annotation whose setting cannot be used. For an update of a held Deployment, only for the annotations
 * that this update wrote, so that scaling does not repeat the other warnings.
 */
export function settingWarnings({ kind, object }: Decision, oldObject: unknown, floor?: Floor): string[] {
  if (!PRELOADING.has(kind)) return [];
  const before = new Set(kind === 'Reheld' ? invalidOf(oldObject, floor) : []);
  return invalidOf(object, floor).filter((text) => !before.has(text));
}

function invalidOf(object: unknown, floor: Floor | undefined): string[] {
  return settingsOf(parseDeployment(object), floor).invalid.map(invalidSettingText);
}
