import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import type { CountOrPercent } from './api/count-or-percent.ts';
import { type Range, SETTINGS, secondsUpTo, wholeNumberUpTo } from './api/settings.ts';
import { isLabelKey } from './api/template/label-syntax.ts';
import type { PodAccount } from './cluster/in-cluster.ts';
import { GateError } from './errors.ts';
import {
  areConsistent,
  PULLER_LIMITS,
  PULLER_REQUESTS,
  type PullerResources,
  parseQuantities,
  type Quantities,
} from './preloads/pods/puller-resources.ts';
import type { PreloadSettings } from './preloads/preload-spec.ts';

/** Everything an operator can set. The one module that reads the environment. */
export interface Config {
  readonly task: 'serve' | 'release-all';
  readonly cluster: Kubeconfig | PodAccount;
  readonly listen: Address;
  /** Probes and metrics. Undefined: none. */
  readonly healthListen: Address | undefined;
  /** `https://host:port` under which the API server reaches us. */
  readonly url: string;
  readonly failurePolicy: 'Ignore' | 'Fail';
  readonly bypassNeedsPermission: boolean;
  /** Whether to start at an API server that is older than the supported ones. */
  readonly unsupportedServer: boolean;
  readonly maxConcurrentPulls: number;
  /** Keys of taints that nodes have only until they are set up, besides the well-known ones. */
  readonly startupTaints: readonly string[];
  readonly pullerResources: PullerResources;
  /** What release-all does with the holds that there are. Undefined: releases them, but reverts those that have failed or may not start. */
  readonly holds: 'release' | 'revert' | 'stop' | undefined;
  readonly settings: PreloadSettings;
  readonly logLevel: string;
}

export interface Kubeconfig {
  readonly kubeconfig: string;
  /** Undefined: the file's current one. */
  readonly context: string | undefined;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where the kubelet puts the credentials of a pod. */
const POD_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];

/**
 * Reads flags, and for each the environment variable that its help names. Prints help, version, or what is wrong with
 * a value and ends the process, as commander does: with 0 for the first two, else 1.
 *
 * Without a kubeconfig the gate acts as the pod that it runs in.
 * @param argv as `process.argv`
 */
export function readConfig(argv: readonly string[], podAccount = POD_ACCOUNT): Config {
  const program = command();
  program.parse([...argv]);
  const flags = program.opts<Flags>();
  const cluster = clusterOf(flags, podAccount);
  if (cluster === undefined) {
    return program.error("error: option '--kubeconfig <file>' is needed outside of a cluster");
  }
  const pullerResources = { requests: flags.pullerRequests, limits: flags.pullerLimits };
  if (!areConsistent(pullerResources))
    return program.error("error: option '--puller-limits' must not be below '--puller-requests'");
  const inPod = 'folder' in cluster;
  const listen = flags.listen ?? parseAddress(inPod ? '0.0.0.0:9443' : '127.0.0.1:9443');
  const { host, port } = listen;
  return {
    task: program.args[0] === 'release-all' ? 'release-all' : 'serve',
    cluster,
    listen,
    healthListen: flags.healthListen ?? (inPod ? parseAddress('0.0.0.0:8081') : undefined),
    url: flags.url ?? `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    failurePolicy: flags.failurePolicy,
    bypassNeedsPermission: flags.bypassNeedsPermission === 'true',
    unsupportedServer: flags.unsupportedServer === 'true',
    maxConcurrentPulls: flags.maxConcurrentPulls,
    startupTaints: flags.startupTaints ?? [],
    pullerResources,
    holds: flags.holds,
    settings: {
      parallelism: flags.parallelism,
      minNodes: flags.minNodes,
      nodeTimeoutSeconds: flags.nodeTimeoutSeconds,
      deadlineSeconds: flags.deadlineSeconds,
      ttlSecondsAfterFinished: flags.ttlSeconds,
      tightenOnly: flags.bypassNeedsPermission === 'true',
      alwaysPullImages: flags.alwaysPullImages === 'true',
    },
    logLevel: flags.logLevel,
  };
}

/** Every flag, with its environment variable, default and range. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: a plain list of flags
export function command(): Command {
  return new Command('pullgate')
    .description('Holds Deployment rollouts in opted-in namespaces until their images are on the nodes.')
    .version(version())
    .configureOutput({ outputError: (text, write) => write(`${configError(text)}\n`) })
    .addArgument(
      new Argument(
        '[task]',
        'release-all: delete the webhook configuration, end every hold, and exit',
      ).choices(['release-all']),
    )
    .option(
      '--kubeconfig <file>',
      'kubeconfig of the cluster to serve. KUBECONFIG is never read, because it may name a production cluster (default: the cluster of its pod)',
    )
    .option('--context <name>', 'context of the kubeconfig (default: its current context)')
    .addOption(
      set(
        '--listen <host:port>',
        'address of the admission endpoint (default: 127.0.0.1:9443, in a cluster 0.0.0.0:9443)',
        parseAddress,
      ),
    )
    .addOption(
      set(
        '--health-listen <host:port>',
        'address of the probes and metrics (default: none, in a cluster 0.0.0.0:8081)',
        parseAddress,
      ),
    )
    .addOption(
      set(
        '--url <url>',
        'URL under which the API server reaches the admission endpoint; not used in a cluster (default: https://<listen>)',
        parseUrl,
      ),
    )
    .addOption(
      set(
        '--failure-policy <policy>',
        'what happens to updates while no replica answers: they go ahead (Ignore) or fail (Fail). In a cluster, the manifests set it',
      )
        .choices(['Ignore', 'Fail'])
        .default('Ignore'),
    )
    .addOption(
      set(
        '--bypass-needs-permission [bool]',
        'require the verb bypass on imagepreloads.pullgate.io to bypass or opt out, and ignore annotations that are looser than the flags',
      )
        .choices(['true', 'false'])
        .preset('true')
        .default('false'),
    )
    .addOption(
      set(
        '--unsupported-server [bool]',
        'start on Kubernetes before 1.30, for a trial. Match conditions and other features that need newer APIs are absent',
      )
        .choices(['true', 'false'])
        .preset('true')
        .default('false'),
    )
    .addOption(
      set(
        '--always-pull-images [bool]',
        'the API server has the admission plugin AlwaysPullImages: any change of a pod template pulls its images',
      )
        .choices(['true', 'false'])
        .preset('true')
        .default('false'),
    )
    .addOption(
      set(
        '--max-concurrent-pulls <n>',
        'how many puller pods pull at a time in the whole cluster',
        inRange(wholeNumberUpTo(100_000)),
      ).default(200),
    )
    .addOption(
      set(
        '--startup-taints <keys>',
        'taints that nodes have only while they start. Such nodes get the images (default: none)',
        inRange(TAINT_KEYS),
      ),
    )
    .addOption(
      set(
        '--puller-requests <cpu=n,memory=n>',
        'requests of a puller pod. A LimitRange of its namespace takes precedence',
        quantities(PULLER_REQUESTS),
      ).default(PULLER_REQUESTS, spelled(PULLER_REQUESTS)),
    )
    .addOption(
      set(
        '--puller-limits <cpu=n,memory=n>',
        'limits of a puller pod. They also apply to the set-up of its sandbox',
        quantities(PULLER_LIMITS),
      ).default(PULLER_LIMITS, spelled(PULLER_LIMITS)),
    )
    .addOption(
      set(
        '--parallelism <n|n%>',
        `${SETTINGS.parallelism.help} (default: 20, or 10% if that is more)`,
        inRange(SETTINGS.parallelism.range),
      ),
    )
    .addOption(
      set('--min-nodes <n|n%>', SETTINGS.minNodes.help, inRange(SETTINGS.minNodes.range)).default('100%'),
    )
    .addOption(
      set(
        '--node-timeout-seconds <n>',
        SETTINGS.nodeTimeoutSeconds.help,
        inRange(SETTINGS.nodeTimeoutSeconds.range),
      ).default(900),
    )
    .addOption(
      set(
        '--deadline-seconds <n>',
        SETTINGS.deadlineSeconds.help,
        inRange(SETTINGS.deadlineSeconds.range),
      ).default(3600),
    )
    .addOption(
      set(
        '--ttl-seconds <n>',
        'how long a finished ImagePreload is kept',
        inRange(secondsUpTo(LONGEST_TTL_SECONDS)),
      ).default(3600),
    )
    .addOption(
      set(
        '--holds <end>',
        'what release-all does with holds: release all, revert all, or stop and change nothing (default: release, but revert those whose image is known to be unavailable, or that wait for an approval or a time)',
      ).choices(['release', 'revert', 'stop']),
    )
    .addOption(set('--log-level <level>', 'least severe level to log').choices(LOG_LEVELS).default('info'));
}

/** What the parsers below make of the flags. */
interface Flags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly listen?: Address;
  readonly healthListen?: Address;
  readonly url?: string;
  readonly failurePolicy: 'Ignore' | 'Fail';
  readonly bypassNeedsPermission: 'true' | 'false';
  readonly unsupportedServer: 'true' | 'false';
  readonly alwaysPullImages: 'true' | 'false';
  readonly maxConcurrentPulls: number;
  readonly startupTaints?: readonly string[];
  readonly pullerRequests: Quantities;
  readonly pullerLimits: Quantities;
  readonly holds?: 'release' | 'revert' | 'stop';
  readonly parallelism?: CountOrPercent;
  readonly minNodes: CountOrPercent;
  readonly nodeTimeoutSeconds: number;
  readonly deadlineSeconds: number;
  readonly ttlSeconds: number;
  readonly logLevel: string;
}

function clusterOf({ kubeconfig, context }: Flags, folder: string): Config['cluster'] | undefined {
  if (kubeconfig !== undefined) return { kubeconfig, context };
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  if (!host || !port || !existsSync(join(folder, 'token'))) return undefined;
  return { server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`, folder };
}

/** The message in the form of the other errors, with the text of commander. */
function configError(text: string): string {
  const detail = text
    .trim()
    .replace(/^error: /, '')
    .replace(/\.$/, '');
  return new GateError('PG_CONFIG', { detail }).message;
}

/** A flag that the environment may set as well: `--min-nodes` is `PULLGATE_MIN_NODES`. */
function set<T>(flags: string, description: string, parse?: (text: string) => T): Option {
  const option = new Option(flags, description);
  option.env(`PULLGATE_${option.name().toUpperCase().replaceAll('-', '_')}`);
  return parse === undefined ? option : option.argParser(parse);
}

function spelled({ cpu, memory }: Quantities): string {
  return `cpu=${cpu},memory=${memory}`;
}

function quantities(fallback: Quantities): (text: string) => Quantities {
  return (text) => {
    const value = parseQuantities(text, fallback);
    if (value !== undefined) return value;
    throw new InvalidArgumentError('It must be quantities of cpu and memory, such as cpu=10m,memory=16Mi.');
  };
}

/** Of seconds: what the CRD takes, as an ImagePreload with more would be refused. */
const LONGEST_TTL_SECONDS = 365 * 86_400;

const MOST_STARTUP_TAINTS = 100;
const TAINT_KEYS: Range<readonly string[]> = {
  allowed: `at most ${MOST_STARTUP_TAINTS} keys of taints, separated by commas`,
  parse(text) {
    const keys = text.split(',');
    return keys.length <= MOST_STARTUP_TAINTS && keys.every(isLabelKey) ? keys : undefined;
  },
};

function inRange<T>({ parse, allowed }: Range<T>): (text: string) => T {
  return (text) => {
    const value = parse(text);
    if (value !== undefined) return value;
    throw new InvalidArgumentError(`It must be ${allowed}.`);
  };
}

function parseAddress(text: string): Address {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw new InvalidArgumentError('It must be host:port, such as 127.0.0.1:9443 or [::1]:9443.');
}

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' && url.pathname === '/' && url.search === '' && url.hash === '')
    return url.origin;
  throw new InvalidArgumentError(
    'It must be https://host:port without a path, because API servers call webhooks only over TLS.',
  );
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
