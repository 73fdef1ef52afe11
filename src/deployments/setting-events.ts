import type { Deployment } from '../api/deployment.ts';
import { MODE_LABEL, MODE_OFF } from '../api/names.ts';
import { type Floor, invalidSettingText, settingsOf } from '../api/settings.ts';
import type { GateEvent } from '../cluster/events.ts';

/** An Event for each annotation that sets nothing: whoever wrote it believes otherwise. */
export function settingEvents(deployment: Deployment, floor?: Floor): GateEvent[] {
  const { namespace, name, uid, labels } = deployment;
  if (labels[MODE_LABEL] === MODE_OFF) return [];
  return settingsOf(deployment, floor).invalid.map((setting) => ({
    type: 'Warning',
    reason: 'InvalidSetting',
    action: 'Configure',
    regarding: { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name, uid },
    note: invalidSettingText(setting),
    dedupKey: `${setting.annotation} ${setting.value}`,
  }));
}
