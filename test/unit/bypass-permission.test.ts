import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import { GATE_NAMESPACE, GATE_SERVICE_ACCOUNT } from '../../src/api/names.ts';
import { admissionPolicy } from '../support/unit/admission-policy.ts';
import { type DeploymentBuilder, deployment } from '../support/unit/deployment-builder.ts';

const policy = admissionPolicy('components/bypass-permission/admission-policy.yaml');
const statusPolicy = admissionPolicy('status-policy.yaml');
const madeForPolicy = admissionPolicy('made-for-policy.yaml');
const web = deployment();
const off = web.label('pullgate.io/mode', 'off');
const RIGHT = 'bypass imagepreloads.pullgate.io in shop';

/** An update; without the stored Deployment, a creation. */
const reviewOf = (next: DeploymentBuilder, stored?: DeploymentBuilder, ...allowed: readonly string[]) => ({
  request: { namespace: 'shop' },
  object: next.object,
  oldObject: stored?.object ?? null,
  allowed,
});

function isAsked(next: DeploymentBuilder, stored?: DeploymentBuilder): boolean {
  const labels = [next, ...(stored === undefined ? [] : [stored])].map(
    ({ object }) => parseDeployment(object).labels,
  );
  return policy.selects(...labels) && policy.applies(reviewOf(next, stored));
}

test('all policies are bound, and refuse what they cannot judge', () => {
  assert.ok(policy.isBound());
  assert.ok(statusPolicy.isBound());
  assert.ok(madeForPolicy.isBound());
});

test('who creates a Deployment that is opted out, or opts one out, needs the verb bypass in its namespace', () => {
  for (const stored of [undefined, web, web.label('pullgate.io/mode', 'pause'), web.label('app', null)]) {
    assert.equal(isAsked(off, stored), true);
    const [message, ...others] = policy.refusals(reviewOf(off, stored));
    assert.match(
      message ?? '',
      /^The label pullgate\.io\/mode=off opts a Deployment out of Pullgate\. That needs/,
    );
    assert.deepEqual(others, []);
    assert.deepEqual(policy.refusals(reviewOf(off, stored, RIGHT)), []);
    for (const other of [
      'bypass imagepreloads.pullgate.io in bank',
      'update imagepreloads.pullgate.io in shop',
      'bypass imagepreloads.example.com in shop',
      'bypass deployments.pullgate.io in shop',
    ])
      assert.equal(policy.refusals(reviewOf(off, stored, other)).length, 1, other);
  }
});

test('everything else is none of its business: what is out stays out, comes in again, or was never out', () => {
  const v2 = (builder: DeploymentBuilder) => builder.image('registry.test/app:2');
  assert.equal(isAsked(v2(off), off), false);
  assert.equal(isAsked(web, off), false);
  assert.equal(isAsked(v2(web), web), false);
  assert.equal(isAsked(web), false);
});

test('the status of an ImagePreload is the gate’s alone to write', () => {
  const refusals = (username: string) => statusPolicy.refusals({ request: { userInfo: { username } } });
  const account = `system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`;
  assert.deepEqual(refusals(account), []);
  for (const username of ['', 'kubernetes-admin', `${account}-2`, 'system:serviceaccount:shop:pullgate'])
    assert.equal(refusals(username).length, 1, username);
});

test('only the gate says what an ImagePreload was made for; an update may keep or remove that', () => {
  const preload = (value?: string) => ({
    metadata: value === undefined ? {} : { annotations: { 'pullgate.io/made-for': value } },
  });
  const isJudged = (object: object, oldObject: object | null) =>
    madeForPolicy.applies({ object: { ...object }, oldObject: oldObject && { ...oldObject } });
  assert.equal(isJudged(preload('a'), null), true);
  assert.equal(isJudged(preload('b'), preload('a')), true);
  assert.equal(isJudged(preload('a'), preload()), true);
  for (const [now, before] of [
    [preload(), null],
    [preload('a'), preload('a')],
    [preload(), preload('a')],
  ] as const)
    assert.equal(isJudged(now, before), false);
  const refusals = (username: string) => madeForPolicy.refusals({ request: { userInfo: { username } } });
  assert.deepEqual(refusals(`system:serviceaccount:${GATE_NAMESPACE}:${GATE_SERVICE_ACCOUNT}`), []);
  assert.match(refusals('a-developer')[0] ?? '', /reserved for the ImagePreloads that Pullgate creates/);
});
