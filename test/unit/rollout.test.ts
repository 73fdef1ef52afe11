import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeployment } from '../../src/api/deployment.ts';
import {
  CONDITION_PREFIX,
  isFailedByGate,
  isRolloutFinished,
  isRolloutUnderWay,
} from '../../src/api/rollout.ts';
import { type DeploymentBuilder, deployment } from '../support/unit/deployment-builder.ts';

const web = deployment();
const DONE = { observedGeneration: 3, replicas: 2, updatedReplicas: 2, availableReplicas: 2 };

interface Progressing {
  readonly reason: string;
  readonly message?: string;
}
const UPDATING: Progressing = { reason: 'ReplicaSetUpdated' };
const COMPLETE: Progressing = { reason: 'NewReplicaSetAvailable' };
const LATE: Progressing = { reason: 'ProgressDeadlineExceeded', message: 'ReplicaSet "web-1" has timed out' };
const FAILED: Progressing = { reason: 'ProgressDeadlineExceeded', message: `${CONDITION_PREFIX}not found` };

function withStatus(
  progressing: Progressing | undefined,
  status: object = {},
  builder: DeploymentBuilder = web,
) {
  const conditions =
    progressing === undefined ? [] : [{ type: 'Progressing', status: 'True', message: '', ...progressing }];
  return parseDeployment({ ...builder.object, status: { ...DONE, conditions, ...status } });
}

test('the gate knows a condition of its own by its first word', () => {
  assert.equal(isFailedByGate(withStatus(FAILED)), true);
  for (const other of [undefined, UPDATING, LATE, { ...FAILED, reason: 'DeploymentPaused' }])
    assert.equal(isFailedByGate(withStatus(other)), false, other?.reason);
});

test('a rollout is over when every replica is of the new template and available, and no old one is left', () => {
  assert.equal(isRolloutFinished(withStatus(COMPLETE)), true);
  for (const status of [{ updatedReplicas: 1 }, { replicas: 3 }, { availableReplicas: 1 }])
    assert.equal(isRolloutFinished(withStatus(UPDATING, status)), false, JSON.stringify(status));
});

test('what its controller has not seen yet, or what is paused, is not over', () => {
  assert.equal(isRolloutFinished(withStatus(COMPLETE, { observedGeneration: 2 })), false);
  assert.equal(isRolloutFinished(withStatus(COMPLETE, {}, web.spec({ paused: true }))), false);
});

test('a rollout that exceeded its own deadline is over; one that the gate has made to fail is not', () => {
  assert.equal(isRolloutFinished(withStatus(LATE, { updatedReplicas: 1 })), true);
  assert.equal(isRolloutFinished(withStatus(FAILED, { updatedReplicas: 1 })), false);
});

test('a rollout is under way from when its controller has seen it until it is over', () => {
  const some = { updatedReplicas: 1 };
  assert.equal(isRolloutUnderWay(withStatus(UPDATING, some)), true);
  assert.equal(isRolloutUnderWay(withStatus({ reason: 'NewReplicaSetCreated' }, some)), true);
  assert.equal(isRolloutUnderWay(withStatus(UPDATING, { ...some, observedGeneration: 2 })), false);
  assert.equal(isRolloutUnderWay(withStatus(UPDATING, some, web.spec({ paused: true }))), false);
  assert.equal(isRolloutUnderWay(withStatus(LATE, some)), false);
  assert.equal(isRolloutUnderWay(withStatus(UPDATING)), false);
});

test('a pod that fails later, or a scaling, is no rollout; without a progress deadline nothing is known', () => {
  assert.equal(isRolloutUnderWay(withStatus(COMPLETE, { availableReplicas: 1 })), false);
  assert.equal(isRolloutUnderWay(withStatus(COMPLETE, { updatedReplicas: 1, replicas: 1 })), false);
  assert.equal(isRolloutUnderWay(withStatus(undefined, { updatedReplicas: 1 })), false);
});
