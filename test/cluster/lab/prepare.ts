import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from './command.ts';
import { fallbackFolder, fallbackPrograms } from './debian-kubernetes.ts';
import { LabError } from './errors.ts';
import { formatVersion, NEWEST_KNOWN_MINOR, parseVersion } from './flags.ts';
import { goPrograms, isBuilt, ModulesUnreachable } from './go-modules.ts';
import { type Ground, LAYOUT } from './ground.ts';
import { FALLBACK_PACKAGES, RUNTIME_PACKAGES, type Tools, unpacked, withIptables } from './packages.ts';
import { cacheFolder } from './paths.ts';
import { collectFacts, firstRunNotice, lacking, refusal } from './preflight.ts';
import { waitProgram } from './wait-program.ts';

type Log = (line: string) => void;

/** The newest release, the oldest one that upstream supports, and Debian's own for where no module proxy is reached. */
export type Release = (typeof RELEASES)[number];
export const RELEASES = ['1.37', '1.34', '1.20'] as const;
const NEWEST = '1.37';
export const OLDEST = '1.34';
const FALLBACK = '1.20';

const KUBERNETES_PROGRAMS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
];
const CONTAINERD_PROGRAMS = ['containerd', 'containerd-shim-runc-v2', 'ctr'];

export interface PrepareOptions {
  /** Undefined: the newest release, or the fallback where its source cannot be fetched. */
  kubernetes?: Release | undefined;
  /** Throw where the source cannot be fetched, instead of falling back. */
  noFallback?: boolean;
}

/** Programs of somebody's choice instead of the built ones. */
function chosenPrograms(): string | undefined {
  const folder = process.env['PULLGATE_KUBE_BIN'];
  return folder ? resolve(folder) : undefined;
}

/** GOPROXY=off asks for the fallback, whatever the cache has. */
function wantedRelease({ kubernetes }: PrepareOptions): Release {
  const isOff = process.env['GOPROXY'] === 'off' && chosenPrograms() === undefined;
  return kubernetes ?? (isOff ? FALLBACK : NEWEST);
}

/** True if a lab can start without building anything. */
export function isPrepared(options: PrepareOptions = {}): boolean {
  const cache = cacheFolder();
  const release = wantedRelease(options);
  if (release === FALLBACK) return existsSync(fallbackFolder(cache));
  return (
    (chosenPrograms() !== undefined || isBuilt(cache, `kubernetes-${release}`, KUBERNETES_PROGRAMS)) &&
    isBuilt(cache, 'etcd', ['etcd']) &&
    isBuilt(cache, 'containerd', CONTAINERD_PROGRAMS)
  );
}

/** Refuses a machine that cannot run the lab, and says how long a first run takes. */
export async function checkMachine(running: boolean, options: PrepareOptions, log: Log): Promise<void> {
  const cached = isPrepared(options);
  const facts = await collectFacts(cacheFolder(), cached, running);
  const lines = lacking(facts).concat(lackingPrograms());
  if (lines.length > 0) {
    throw new LabError(refusal(lines, facts));
  }
  if (!cached) {
    log(firstRunNotice(facts));
  }
}

function lackingPrograms(): string[] {
  const folder = chosenPrograms();
  const missing = KUBERNETES_PROGRAMS.filter(
    (name) => folder !== undefined && name !== 'kubectl' && !existsSync(join(folder, name)),
  );
  return missing.length === 0 ? [] : [`${missing.join(', ')} in PULLGATE_KUBE_BIN=${folder}`];
}

/** Everything that a lab stands on, from the cache or made now. */
export async function prepare(log: Log, options: PrepareOptions = {}): Promise<Omit<Ground, 'port'>> {
  const cache = cacheFolder();
  const tools = await toolsOf(cache, options, log);
  const program = await waitProgram(cache, log);
  const { stdout } = await run(['kubelet', '--version'], { env: tools.env, timeoutSeconds: 10 });
  const version = parseVersion(stdout);
  if (version.minor > NEWEST_KNOWN_MINOR) {
    log(
      `Kubernetes ${formatVersion(version)} is newer than 1.${NEWEST_KNOWN_MINOR}: trying the flags of 1.${NEWEST_KNOWN_MINOR}`,
    );
  }
  return { layout: LAYOUT, version, tools, waitProgram: program };
}

async function toolsOf(cache: string, options: PrepareOptions, log: Log): Promise<Tools> {
  const release = wantedRelease(options);
  if (release === FALLBACK) return await fallbackTools(cache, options, 'GOPROXY is off', log);
  try {
    return await builtTools(cache, release, log);
  } catch (error) {
    const isChosen = options.kubernetes !== undefined || chosenPrograms() !== undefined;
    if (!(error instanceof ModulesUnreachable) || isChosen) throw error;
    return await fallbackTools(cache, options, error.message, log);
  }
}

async function builtTools(cache: string, release: '1.37' | '1.34', log: Log): Promise<Tools> {
  const kubernetes =
    chosenPrograms() ?? (await goPrograms(cache, `kubernetes-${release}`, KUBERNETES_PROGRAMS, log));
  const etcd = await goPrograms(cache, 'etcd', ['etcd'], log);
  const containerd = await goPrograms(cache, 'containerd', CONTAINERD_PROGRAMS, log);
  const tools = await withIptables(await unpacked(cache, 'debian', RUNTIME_PACKAGES, log));
  return withPrograms(tools, [kubernetes, etcd, containerd]);
}

async function fallbackTools(
  cache: string,
  { kubernetes, noFallback }: PrepareOptions,
  reason: string,
  log: Log,
): Promise<Tools> {
  if (kubernetes === undefined) {
    if (noFallback) {
      throw new LabError(
        `the tests need Kubernetes ${NEWEST}, which is built from Go modules, but ${reason}. Set GOPROXY to a module proxy that this machine reaches`,
      );
    }
    log(`using Kubernetes 1.20 from Debian's source, because ${reason}`);
  }
  const programs = await fallbackPrograms(cache, log);
  const tools = await withIptables(await unpacked(cache, 'debian-fallback', FALLBACK_PACKAGES, log));
  return withPrograms(tools, [programs]);
}

function withPrograms({ root, env }: Tools, folders: readonly string[]): Tools {
  return { root, env: { ...env, PATH: [...folders, env['PATH']].join(':') } };
}
