import type { Deployment } from '../api/deployment.ts';
import { MODE_LABEL, MODE_OFF } from '../api/names.ts';
import { type Floor, invalidSettingText, settingsOf } from '../api/settings.ts';
import type { GateEvent } from '../cluster/events.ts';
import { deploymentReference } from '../cluster/object-reference.ts';

/** Returns an Event for each annotation that sets nothing, because its author believes otherwise. */
export function settingEvents(deployment: Deployment, floor?: Floor): GateEvent[] {
  if (deployment.labels[MODE_LABEL] === MODE_OFF) return [];
  return settingsOf(deployment, floor).invalid.map((setting) => ({
    type: 'Warning',
    reason: 'InvalidSetting',
    action: 'Configure',
    regarding: deploymentReference(deployment),
    note: invalidSettingText(setting),
    dedupKey: `${setting.annotation} ${setting.value}`,
  }));
}
