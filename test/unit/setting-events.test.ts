import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { settingEvents } from '../../src/deployments/setting-events.ts';
import { type DeploymentBuilder, deployment, UID } from '../support/unit/deployment-builder.ts';

const facts = (builder: DeploymentBuilder) => settingEvents(parseDeployment(builder.object));
const wrong = deployment().annotate('pullgate.io/min-nodes', 'fifty');

test('an invalid setting is told on the Deployment, with what is allowed and what is used instead', () => {
  const [event, ...rest] = facts(wrong);
  assert.equal(rest.length, 0);
  assert.deepEqual([event?.type, event?.reason], ['Warning', 'InvalidSetting']);
  assert.deepEqual([event?.regarding.kind, event?.regarding.uid], ['Deployment', UID]);
  assert.match(event?.note ?? '', /min-nodes is "fifty"; it must be a count.*; the flag --min-nodes is used/);
});

test('the same annotation and value are one fact, whatever else changes; another value is another one', () => {
  const fact = (builder: DeploymentBuilder) => facts(builder)[0]?.dedupKey;
  const later = wrong.metadata({ generation: 9 }).image('registry.test/app:2').annotate('note', 'other');
  assert.equal(fact(later), fact(wrong));
  assert.notEqual(fact(deployment().annotate('pullgate.io/min-nodes', 'sixty')), fact(wrong));
  assert.notEqual(fact(deployment().annotate('pullgate.io/parallelism', 'fifty')), fact(wrong));
});

test('valid settings are no fact, nor is anything on a Deployment that opted out', () => {
  assert.deepEqual(facts(deployment().annotate('pullgate.io/min-nodes', '50%')), []);
  assert.deepEqual(facts(wrong.label('pullgate.io/mode', 'off')), []);
});
