import assert from 'node:assert/strict';
import { test } from 'node:test';
import { innermostPid, parseEnvironment, specOf } from '../cluster/lab/process-table.ts';

test('an environment is read as the kernel shows it', () => {
  const variables = parseEnvironment('A=1\0PATH=/bin:/usr/bin\0EQUALS=a=b\0broken\0\0');
  assert.deepEqual(
    [...variables],
    [
      ['A', '1'],
      ['PATH', '/bin:/usr/bin'],
      ['EQUALS', 'a=b'],
    ],
  );
});

test('the innermost pid is the one that the process sees itself', () => {
  assert.equal(innermostPid('Name:\tsh\nNSpid:\t4711\t27\nNSpgid:\t1\t1\n'), '27');
  assert.equal(innermostPid('Name:\tsh\nNSpid:\t4711\n'), '4711');
  assert.equal(innermostPid('Name:\tsh\n'), undefined);
});

test('a spec changes with the command, the environment and the configuration, and with nothing else', () => {
  const component = { name: 'hub/x', argv: ['x', '--a'], env: { A: '1' }, files: { '/f': 'text' } };
  const spec = specOf(component);
  assert.equal(specOf({ ...component, name: 'hub/y', listens: { port: 1 } }), spec);
  assert.notEqual(specOf({ ...component, argv: ['x', '--b'] }), spec);
  assert.notEqual(specOf({ ...component, env: { A: '2' } }), spec);
  assert.notEqual(specOf({ ...component, files: { '/f': 'other' } }), spec);
});
