import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Config, command, readConfig } from '../../src/config.ts';
import { PULLER_RESOURCES } from '../../src/preloads/pods/puller-resources.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const read = (...flags: string[]) => readConfig(['node', 'main.ts', '--kubeconfig', 'file', ...flags]);

/** What a kubelet gives to a pod. */
const account = mkdtempSync(join(tmpdir(), 'pullgate-account-'));
writeFileSync(join(account, 'token'), 'token');
after(() => rmSync(account, { recursive: true }));

function readInPod(host: string, ...flags: string[]): Config {
  process.env['KUBERNETES_SERVICE_HOST'] = host;
  process.env['KUBERNETES_SERVICE_PORT'] = '443';
  return readConfig(['node', 'main.js', ...flags], account);
}

afterEach(() => {
  delete process.env['KUBERNETES_SERVICE_HOST'];
  delete process.env['KUBERNETES_SERVICE_PORT'];
  for (const name of Object.keys(process.env)) if (name.startsWith('PULLGATE_')) delete process.env[name];
});

test('the defaults are those of the docs', () => {
  assert.deepEqual(read(), {
    task: 'serve',
    cluster: { kubeconfig: 'file', context: undefined },
    healthListen: undefined,
    listen: { host: '127.0.0.1', port: 9443 },
    url: 'https://127.0.0.1:9443',
    failurePolicy: 'Ignore',
    bypassNeedsPermission: false,
    unsupportedServer: false,
    maxConcurrentPulls: 200,
    startupTaints: [],
    pullerResources: PULLER_RESOURCES,
    holds: undefined,
    settings: {
      parallelism: undefined,
      minNodes: '100%',
      nodeTimeoutSeconds: 900,
      deadlineSeconds: 3600,
      ttlSecondsAfterFinished: 3600,
      tightenOnly: false,
      alwaysPullImages: false,
    },
    logLevel: 'info',
  } satisfies Config);
});

type Pick = (config: Config) => unknown;
const flags: readonly (readonly [string, string, Pick, unknown])[] = [
  ['--listen', '0.0.0.0:8443', ({ listen }) => listen, { host: '0.0.0.0', port: 8443 }],
  ['--listen', '[::1]:8443', ({ url }) => url, 'https://[::1]:8443'],
  ['--health-listen', '0.0.0.0:81', ({ healthListen }) => healthListen, { host: '0.0.0.0', port: 81 }],
  ['--url', 'https://gate.test:444', ({ url }) => url, 'https://gate.test:444'],
  ['--holds', 'revert', ({ holds }) => holds, 'revert'],
  ['--failure-policy', 'Fail', ({ failurePolicy }) => failurePolicy, 'Fail'],
  ['--startup-taints', 'a.test/b,c', ({ startupTaints }) => startupTaints, ['a.test/b', 'c']],
  ['--bypass-needs-permission', 'true', ({ bypassNeedsPermission }) => bypassNeedsPermission, true],
  ['--bypass-needs-permission', 'false', ({ bypassNeedsPermission }) => bypassNeedsPermission, false],
  ['--unsupported-server', 'true', ({ unsupportedServer }) => unsupportedServer, true],
  ['--unsupported-server', 'false', ({ unsupportedServer }) => unsupportedServer, false],
  ['--max-concurrent-pulls', '7', ({ maxConcurrentPulls }) => maxConcurrentPulls, 7],
  ['--parallelism', '25%', ({ settings }) => settings.parallelism, '25%'],
  ['--parallelism', '3', ({ settings }) => settings.parallelism, 3],
  ['--min-nodes', '1', ({ settings }) => settings.minNodes, 1],
  ['--node-timeout-seconds', '60', ({ settings }) => settings.nodeTimeoutSeconds, 60],
  ['--deadline-seconds', '600', ({ settings }) => settings.deadlineSeconds, 600],
  ['--ttl-seconds', '30', ({ settings }) => settings.ttlSecondsAfterFinished, 30],
  ['--log-level', 'debug', ({ logLevel }) => logLevel, 'debug'],
];
for (const [flag, value, pick, want] of flags) {
  const variable = `PULLGATE_${flag.slice(2).toUpperCase().replaceAll('-', '_')}`;
  test(`${flag} ${value}, or ${variable}`, () => {
    assert.deepEqual(pick(read(flag, value)), want);
    process.env[variable] = value;
    assert.deepEqual(pick(read()), want);
  });
}

test('with --bypass-needs-permission a Deployment may only be stricter than the flags', () => {
  assert.equal(read('--bypass-needs-permission').settings.tightenOnly, true);
});

test('in a pod it acts as the account of that pod, and is reached from outside of it', () => {
  assert.partialDeepStrictEqual(readInPod('10.96.0.1'), {
    cluster: { server: 'https://10.96.0.1:443', folder: account },
    listen: { host: '0.0.0.0', port: 9443 },
    healthListen: { host: '0.0.0.0', port: 8081 },
  });
});

test('in a pod, too, flags say where it listens', () => {
  const { listen, healthListen } = readInPod('10.96.0.1', '--listen', '[::]:1', '--health-listen', '[::]:2');
  assert.deepEqual([listen.host, listen.port, healthListen?.host, healthListen?.port], ['::', 1, '::', 2]);
});

test('the address of an API server may be of IPv6', () => {
  assert.partialDeepStrictEqual(readInPod('fd00::1').cluster, { server: 'https://[fd00::1]:443' });
});

test('a kubeconfig goes before the account of the pod', () => {
  const { cluster } = readInPod('10.96.0.1', '--kubeconfig', 'file');
  assert.deepEqual(cluster, { kubeconfig: 'file', context: undefined });
});

test('a pod without a token has to name a kubeconfig', () => {
  process.env['KUBERNETES_SERVICE_HOST'] = '10.96.0.1';
  process.env['KUBERNETES_SERVICE_PORT'] = '443';
  assert.match(complaint(), /--kubeconfig/);
});

test('release-all is the one other task', () => {
  assert.equal(readInPod('10.96.0.1', 'release-all').task, 'release-all');
  assert.match(complaint('--kubeconfig', 'file', 'release'), /release-all/);
});

test('a flag goes before its environment variable', () => {
  process.env['PULLGATE_MAX_CONCURRENT_PULLS'] = '5';
  assert.equal(read('--max-concurrent-pulls', '6').maxConcurrentPulls, 6);
});

test('--bypass-needs-permission and --unsupported-server need no value', () => {
  assert.equal(read('--bypass-needs-permission').bypassNeedsPermission, true);
  assert.equal(read('--unsupported-server').unsupportedServer, true);
});

/** What commander would print, with the process left alive. */
function complaint(...argv: string[]): string {
  const { exit } = process;
  const { write } = process.stderr;
  let text = '';
  process.exit = ((code: number) => {
    throw new Error(`exit ${code}`);
  }) as typeof exit;
  process.stderr.write = ((chunk: string) => {
    text += chunk;
    return true;
  }) as typeof write;
  try {
    assert.throws(() => readConfig(['node', 'main.ts', ...argv]), /exit 1/);
  } finally {
    process.exit = exit;
    process.stderr.write = write;
  }
  return text;
}

const bad: readonly (readonly [string, string, RegExp])[] = [
  ['--listen', '9443', /host:port/],
  ['--listen', 'localhost:0', /host:port/],
  ['--listen', 'localhost:70000', /host:port/],
  ['--listen', '::1:9443', /host:port/],
  ['--url', 'http://gate.test', /https/],
  ['--url', 'https://gate.test/path', /without a path/],
  ['--url', 'gate.test', /https/],
  ['--failure-policy', 'ignore', /Ignore, Fail/],
  ['--bypass-needs-permission', 'perhaps', /true, false/],
  ['--unsupported-server', '1.20', /true, false/],
  ['--max-concurrent-pulls', '0', /whole number from 1/],
  ['--max-concurrent-pulls', '1e3', /whole number from 1/],
  ['--parallelism', '0', /count such as 3/],
  ['--parallelism', '101%', /count such as 3/],
  ['--min-nodes', 'all', /count such as 3/],
  ['--node-timeout-seconds', '-1', /whole number/],
  ['--node-timeout-seconds', '604800', /86400/],
  ['--deadline-seconds', '604801', /whole number/],
  ['--ttl-seconds', '1.5', /whole number/],
  ['--log-level', 'loud', /info/],
];
for (const [flag, value, want] of bad) {
  test(`${flag} ${value} is refused, with what it should be`, () => {
    const text = complaint('--kubeconfig', 'file', flag, value);
    assert.match(text, /^PG_CONFIG: /);
    assert.match(text, want);
    assert.ok(text.includes(flag) && text.includes(value));
    assert.equal(text.trim().split('\n').length, 1);
  });
}

test('a bad environment variable is named', () => {
  process.env['PULLGATE_MIN_NODES'] = 'all';
  assert.match(complaint('--kubeconfig', 'file'), /'all' from env 'PULLGATE_MIN_NODES'/);
});

test('the process ends with 1 and one line', () => {
  for (const argv of [[], ['--kubeconfig', 'file', '--min-nodes', '0']]) {
    const { status, stderr, stdout } = spawnSync(process.execPath, [main, ...argv], { encoding: 'utf8' });
    assert.deepEqual([status, stdout, stderr.trim().split('\n').length], [1, '', 1]);
    assert.match(stderr, /^PG_CONFIG: /);
  }
});

test('every flag but --kubeconfig and --context has an environment variable of its name', () => {
  for (const { long = '', envVar } of command().options.filter(({ long }) => long !== '--version')) {
    const variable = `PULLGATE_${long.slice(2).toUpperCase().replaceAll('-', '_')}`;
    const has = long !== '--kubeconfig' && long !== '--context';
    assert.equal(envVar, has ? variable : undefined, long);
  }
});
