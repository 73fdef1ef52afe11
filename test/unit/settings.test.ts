import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseDeployment } from '../../src/api/deployment.ts';
import { type Floor, invalidSettingText, settingsOf } from '../../src/api/settings.ts';
import { deployment } from '../support/unit/deployment-builder.ts';

const template = { spec: { nodeSelector: { disk: 'ssd' } } };
const of = (name: string, value: string) =>
  settingsOf({ annotations: { [`pullgate.io/${name}`]: value }, template });
const set = (name: string, value: string) => {
  const { settings, invalid } = of(name, value);
  assert.deepEqual(invalid, []);
  return settings;
};

test('a Deployment without such an annotation sets nothing', () => {
  assert.deepEqual(settingsOf(parseDeployment(deployment().object)), {
    settings: {},
    notBefore: undefined,
    invalid: [],
  });
});

for (const [name, value, want] of [
  ['parallelism', '3', { parallelism: 3 }],
  ['parallelism', '25%', { parallelism: '25%' }],
  ['min-nodes', '1', { minNodes: 1 }],
  ['min-nodes', '50%', { minNodes: '50%' }],
  ['node-timeout-seconds', '1', { nodeTimeoutSeconds: 1 }],
  ['node-timeout-seconds', '86400', { nodeTimeoutSeconds: 86_400 }],
  ['deadline-seconds', '604800', { deadlineSeconds: 604_800 }],
  ['node-selector', 'pool=web', { nodeSelector: [{ key: 'pool', operator: 'In', values: ['web'] }] }],
] as const) {
  test(`${name}=${value} is a setting`, () => assert.deepEqual(set(name, value), want));
}

for (const [name, ...values] of [
  ['parallelism', '', '0', '101%', 'all', '3 ', '-1', '1.5', '50 %'],
  ['min-nodes', '0%', 'half', '٣'],
  ['node-timeout-seconds', '0', '86401', '15m', '1e3', '-1', ' 60', '1'.repeat(400)],
  ['deadline-seconds', '604801', '1h', ''],
  ['node-selector', '', 'pool=web,', '=web', 'pool in a', 'disk!=ssd', '!disk', 'disk in (hdd)'],
  ['node-selector', 'a/b/c=d', '/a=b', 'A.b/c=d', '-a=b', 'a-=b', 'a=b-', `${'a'.repeat(64)}=b`],
  ['node-selector', `a=${'b'.repeat(64)}`, `${'a'.repeat(254)}/b=c`, 'a=b\n', '__proto__=a', 'pool=a,pool=b'],
  ['node-selector', 'disk=hdd', 'pool=web,disk='],
] as const) {
  for (const value of values) {
    test(`${name}=${JSON.stringify(value.slice(0, 80))} is invalid`, () => {
      const { settings, invalid } = of(name, value);
      assert.deepEqual(settings, {});
      assert.deepEqual(
        invalid.map((one) => [one.annotation, one.value]),
        [[`pullgate.io/${name}`, value]],
      );
    });
  }
}

test('a node selector of more than 4096 characters is invalid as a whole', () => {
  const values = `${'x'.repeat(60)},`.repeat(100);
  const selector = (characters: number) => `pool in (${values.slice(0, characters - 11)}z)`;
  assert.deepEqual(of('node-selector', selector(4096)).invalid, []);
  const [invalid] = of('node-selector', selector(4097)).invalid;
  assert.equal(invalid?.annotation, 'pullgate.io/node-selector');
});

test('an invalid setting takes no other one with it', () => {
  const { settings, invalid } = settingsOf({
    annotations: {
      'pullgate.io/deadline-seconds': 'soon',
      'pullgate.io/min-nodes': '50%',
      'pullgate.io/parallelism': 'many',
    },
    template,
  });
  assert.deepEqual(settings, { minNodes: '50%' });
  assert.deepEqual(
    invalid.map(({ value }) => value),
    ['many', 'soon'],
  );
});

test('an invalid one reads: what was written, what is allowed, what happens instead', () => {
  const text = (name: string, value: string) => of(name, value).invalid.map(invalidSettingText);
  assert.deepEqual(text('min-nodes', 'fifty'), [
    'pullgate.io/min-nodes is "fifty"; it must be a count such as 3, or a percentage from 1% to 100%; ' +
      'the flag --min-nodes is used instead',
  ]);
  assert.deepEqual(text('node-selector', 'disk=hdd'), [
    'pullgate.io/node-selector is "disk=hdd"; it must be a label selector such as pool=web,zone in (a,b),!gpu (50 requirements at most), ' +
      "compatible with the pod template's nodeSelector; it is ignored",
  ]);
});

const floor: Floor = { minNodes: '50%', nodeTimeoutSeconds: 900, deadlineSeconds: 3600 };

test('a floor lets through what is stricter or the same, and says why of all else', () => {
  const annotations = {
    'pullgate.io/parallelism': '1',
    'pullgate.io/min-nodes': '49%',
    'pullgate.io/node-timeout-seconds': '900',
    'pullgate.io/deadline-seconds': '3599',
    'pullgate.io/node-selector': 'pool=web',
  };
  const { settings, invalid } = settingsOf({ annotations, template }, floor);
  assert.deepEqual(settings, { parallelism: 1, nodeTimeoutSeconds: 900 });
  assert.deepEqual(invalid.map(invalidSettingText), [
    'pullgate.io/min-nodes is "49%"; it must be a percentage of at least 50%, because --bypass-needs-permission is set; ' +
      'the flag --min-nodes is used instead',
    'pullgate.io/deadline-seconds is "3599"; it must be at least 3600, because --bypass-needs-permission is set; ' +
      'the flag --deadline-seconds is used instead',
    'pullgate.io/node-selector is "pool=web"; it must be absent, because --bypass-needs-permission is set; it is ignored',
  ]);
});

test('a count is neither more nor less than a percentage, but for all nodes', () => {
  const of = (value: string, minNodes: Floor['minNodes']) =>
    settingsOf({ annotations: { 'pullgate.io/min-nodes': value }, template }, { ...floor, minNodes });
  assert.deepEqual(of('1000', '50%').settings, {});
  assert.deepEqual(of('99%', 3).settings, {});
  assert.deepEqual(of('100%', 3).settings, { minNodes: '100%' });
  assert.deepEqual(of('3', 3).settings, { minNodes: 3 });
  assert.match(
    of('2', 3).invalid.map(invalidSettingText)[0] ?? '',
    /a count of at least 3, or 100%, because/,
  );
});

const names = ['parallelism', 'min-nodes', 'node-timeout-seconds', 'deadline-seconds', 'node-selector'];

const written = fc.oneof(fc.string({ maxLength: 300, unit: 'binary' }), fc.constantFrom('1', '1%', 'a=b'));
const maybeFloor = fc.option(
  fc.constant({ minNodes: 999_999_999, nodeTimeoutSeconds: 86_400, deadlineSeconds: 604_800 }),
  {
    nil: undefined,
  },
);

test('whatever is written is used or told, on one line that a warning has room for', () => {
  fc.assert(
    fc.property(fc.constantFrom(...names), written, maybeFloor, (name, value, limit) => {
      const annotations = { [`pullgate.io/${name}`]: value };
      const { settings, invalid } = settingsOf({ annotations, template }, limit);
      assert.equal(Object.keys(settings).length + invalid.length, 1);
      for (const text of invalid.map(invalidSettingText)) {
        assert.doesNotMatch(text, /[\r\n]/);
        assert.ok(`pullgate: ${text}`.length <= 256, text);
        assert.ok(text.includes('it must be') && /instead$|it is ignored$/.test(text));
      }
    }),
  );
});
