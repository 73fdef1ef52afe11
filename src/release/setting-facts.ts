import type { GateEvent } from '../cluster/events.ts';
import type { Deployment } from '../hold/deployment.ts';
import { type Floor, invalidSettingText, settingsOf } from '../hold/settings.ts';
import { MODE_LABEL, MODE_OFF } from '../names.ts';

/** An Event for each annotation that sets nothing: whoever wrote it believes otherwise. */
export function settingFacts(deployment: Deployment, floor?: Floor): GateEvent[] {
  const { namespace, name, uid, labels } = deployment;
  if (labels[MODE_LABEL] === MODE_OFF) return [];
  return settingsOf(deployment, floor).invalid.map((setting) => ({
    type: 'Warning',
    reason: 'InvalidSetting',
    action: 'Configure',
    regarding: { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name, uid },
    note: invalidSettingText(setting),
    fact: `${setting.annotation} ${setting.value}`,
  }));
}
