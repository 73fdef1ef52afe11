import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelSelectorText } from '../../src/api/label-selector.ts';

test('labels and expressions of all operators are written as the API server reads them', () => {
  const selector = {
    matchLabels: { app: 'web', 'example.com/tier': '' },
    matchExpressions: [
      { key: 'track', operator: 'In', values: ['stable', 'canary'] },
      { key: 'stage', operator: 'NotIn', values: ['test'] },
      { key: 'team', operator: 'Exists' },
      { key: 'legacy', operator: 'DoesNotExist', values: [] },
    ],
  };
  assert.equal(
    labelSelectorText(selector),
    'app=web,example.com/tier=,track in (stable,canary),stage notin (test),team,!legacy',
  );
});

test('a selector of expressions alone selects', () => {
  const selector = { matchExpressions: [{ key: 'app', operator: 'In', values: ['web'] }] };
  assert.equal(labelSelectorText(selector), 'app in (web)');
});

for (const [what, selector] of Object.entries({
  'that selects everything': {},
  'that is none': 'app=web',
  'with a value that is two': { matchLabels: { app: 'web,tier=db' } },
  'with a key that is two': { matchLabels: { 'app,tier': 'web' } },
  'with a value that ends the list': {
    matchExpressions: [{ key: 'app', operator: 'In', values: ['web),x in (y'] }],
  },
  'with a value of another type': { matchExpressions: [{ key: 'app', operator: 'In', values: [7] }] },
  'without values': { matchExpressions: [{ key: 'app', operator: 'In' }] },
  'with an operator of later': {
    matchLabels: { app: 'web' },
    matchExpressions: [{ key: 'a', operator: 'Like' }],
  },
  'with more than fits into an address': { matchLabels: { app: 'x'.repeat(5000) } },
})) {
  test(`a selector ${what} is none`, () => {
    assert.equal(labelSelectorText(selector), undefined);
  });
}
