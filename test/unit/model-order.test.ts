import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kind, Moment } from '../stress/model/history.ts';
import { inStoredOrder } from '../stress/model/stored-order.ts';

function moment(heard: number, kind: Kind, version?: number): Moment {
  const object = version === undefined ? undefined : { metadata: { resourceVersion: `${version}` } };
  return { at: heard, kind, name: kind, uid: `${kind}-uid`, object };
}

function told(moments: readonly Moment[]): string[] {
  return inStoredOrder(moments).map(({ at, kind }) => `${at} ${kind}`);
}

test('a release that is heard of after the pod that it brought was stored before it', () => {
  assert.deepEqual(told([moment(100, 'Pod', 8), moment(160, 'Deployment', 7)]), [
    '100 Deployment',
    '100 Pod',
  ]);
});

test('a node that was cordoned before a release counts as cordoned, however late its watch tells it', () => {
  const moments = [moment(10, 'Node', 1), moment(100, 'Deployment', 7), moment(4000, 'Node', 6)];
  assert.deepEqual(told(moments), ['10 Node', '100 Node', '100 Deployment']);
});

test('what was stored later keeps its time, and so does a deletion', () => {
  const moments = [moment(100, 'Deployment', 7), moment(110, 'Node'), moment(120, 'Pod', 9)];
  assert.deepEqual(told(moments), ['100 Deployment', '110 Node', '120 Pod']);
});

test('a new object of the same name comes after the deletion, however early it is known', () => {
  const moments = [moment(100, 'Pod', 9), moment(200, 'Deployment'), moment(210, 'Deployment', 8)];
  assert.deepEqual(told(moments).toSorted(), ['100 Deployment', '100 Deployment', '100 Pod']);
  assert.equal(inStoredOrder(moments)[0]?.object, undefined);
});

test('a new list, which has its own order, moves nothing to before what was stored earlier', () => {
  const listed = { ...moment(210, 'Deployment', 6), name: 'other' };
  const moments = [moment(100, 'Pod', 7), moment(200, 'Deployment'), moment(205, 'Deployment', 9), listed];
  assert.deepEqual(told(moments), ['100 Deployment', '100 Pod', '200 Deployment', '205 Deployment']);
});

test('a pod that was made during a hold is still one', () => {
  const moments = [moment(100, 'Deployment', 7), moment(110, 'Pod', 8), moment(120, 'Deployment', 9)];
  assert.deepEqual(told(moments), ['100 Deployment', '110 Pod', '120 Deployment']);
});
