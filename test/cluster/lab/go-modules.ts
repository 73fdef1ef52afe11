import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './command.ts';
import { LabError, messageOf } from './errors.ts';
import { type Go, goToolchain } from './go-toolchain.ts';

type Log = (line: string) => void;

/** One folder below `go/` for each: a go.mod that pins the version, and a go.sum that pins every byte. */
export type GoModuleName = (typeof GO_MODULES)[number];
export const GO_MODULES = [
  'kubernetes-1.37',
  'kubernetes-1.34',
  'etcd',
  'containerd',
  'helm',
  'flux-apply',
  'metrics-server',
  'network-policies',
  'prometheus',
] as const;

/** What a module's programs are built from, beyond the package paths in the `tool` lines of its go.mod. */
interface Recipe {
  /** For the terminal. */
  readonly title: string;
  /** The module whose version is the version of the programs. */
  readonly source: string;
  /** Variables that the linker sets, for programs that print the version. `version` is like `v1.37.2`. */
  variables(version: string): Readonly<Record<string, string>>;
  readonly tags?: readonly string[];
  /** The main packages of programs that are not called like their package. */
  readonly packages?: Readonly<Record<string, string>>;
}

const KUBERNETES: Recipe = {
  title: 'Kubernetes',
  source: 'k8s.io/kubernetes',
  variables(version) {
    const [major = '', minor = ''] = version.slice(1).split('.');
    const variable = 'k8s.io/component-base/version';
    return {
      [`${variable}.gitVersion`]: version,
      [`${variable}.gitMajor`]: major,
      [`${variable}.gitMinor`]: minor,
    };
  },
};

const RECIPES: Record<GoModuleName, Recipe> = {
  'kubernetes-1.37': KUBERNETES,
  'kubernetes-1.34': KUBERNETES,
  etcd: {
    title: 'etcd',
    source: 'go.etcd.io/etcd/server/v3',
    variables: () => ({}),
    packages: { etcd: 'go.etcd.io/etcd/server/v3' },
  },
  containerd: {
    title: 'containerd',
    source: 'github.com/containerd/containerd/v2',
    variables: (version) => ({ 'github.com/containerd/containerd/v2/version.Version': version }),
    // Man pages and drivers that no node of the lab uses.
    tags: ['urfave_cli_no_docs', 'no_btrfs', 'no_devmapper', 'no_zfs'],
  },
  helm: {
    title: 'Helm',
    source: 'helm.sh/helm/v4',
    variables: (version) => ({ 'helm.sh/helm/v4/internal/version.version': version }),
  },
  'flux-apply': {
    title: "Flux's apply",
    source: 'github.com/fluxcd/pkg/ssa',
    variables: () => ({}),
    packages: { 'flux-apply': 'pullgate.io/lab/flux-apply' },
  },
  'metrics-server': {
    title: 'metrics-server',
    source: 'sigs.k8s.io/metrics-server',
    variables: (version) => ({ 'k8s.io/component-base/version.gitVersion': version }),
  },
  'network-policies': {
    title: 'kube-network-policies',
    source: 'sigs.k8s.io/kube-network-policies',
    variables: () => ({}),
    packages: { 'kube-network-policies': 'sigs.k8s.io/kube-network-policies/cmd' },
  },
  prometheus: {
    title: 'Prometheus',
    source: 'github.com/prometheus/prometheus',
    variables: (version) => ({ 'github.com/prometheus/common/version.Version': version.slice(1) }),
    // Of the service discoveries only that of Kubernetes: the others are most of the code.
    tags: ['remove_all_sd', 'enable_kubernetes_sd'],
  },
};

/** Raise this whenever the way of building changes: programs built the old way are then not used any more. */
const RECIPE = 1;

/** The module proxy gave no answer, or GOPROXY is off, and the module cache lacks something. */
export class ModulesUnreachable extends LabError {}

/** The version that go.mod pins, such as `1.37.2`. */
export function moduleVersion(name: GoModuleName): string {
  return pinnedVersion(name).replace(/^v/, '');
}

/** The folder of a module's programs. Programs that have not been built yet are not in it. */
export function programsFolder(cache: string, name: GoModuleName): string {
  const hash = createHash('sha256').update(JSON.stringify([RECIPE, RECIPES[name].tags ?? []]));
  for (const file of readdirSync(moduleFolder(name)).sort()) {
    hash.update(readFileSync(join(moduleFolder(name), file)));
  }
  return join(cache, `${name}-${hash.digest('hex').slice(0, 8)}`);
}

/** True if every one of these programs has been built. */
export function isBuilt(cache: string, name: GoModuleName, programs: readonly string[]): boolean {
  return missing(cache, name, programs).length === 0;
}

/**
 * Builds the programs that the cache lacks, and returns their folder. An interrupted build loses nothing: Go's own cache has
 * every package that was compiled.
 *
 * @throws ModulesUnreachable if a source cannot be fetched
 * @throws LabError with the end of the build's output for anything else
 */
export async function goPrograms(
  cache: string,
  name: GoModuleName,
  programs: readonly string[],
  log: Log,
): Promise<string> {
  const folder = programsFolder(cache, name);
  const wanted = missing(cache, name, programs);
  if (wanted.length === 0) return folder;
  const go = await goToolchain(cache, log);
  const { title } = RECIPES[name];
  const packages = wanted.map((program) => packagePath(name, program));
  log(`fetching the source of ${title} ${moduleVersion(name)}`);
  const total = await fetchSources(go, name, packages, join(cache, `${name}.log`));

  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  await build(go, name, packages, total, partial, join(cache, `${name}.log`), log);
  mkdirSync(folder, { recursive: true });
  for (const [index, program] of wanted.entries()) {
    renameSync(join(partial, outputName(packages[index] ?? '')), join(folder, program));
  }
  rmSync(partial, { recursive: true });
  return folder;
}

function missing(cache: string, name: GoModuleName, programs: readonly string[]): string[] {
  const folder = programsFolder(cache, name);
  return programs.filter((program) => !existsSync(join(folder, program)));
}

function moduleFolder(name: GoModuleName): string {
  return join(import.meta.dirname, 'go', name);
}

function goMod(name: GoModuleName): string {
  return readFileSync(join(moduleFolder(name), 'go.mod'), 'utf8');
}

function pinnedVersion(name: GoModuleName): string {
  const { source } = RECIPES[name];
  const words = goMod(name)
    .split('\n')
    .map((line) =>
      line
        .replace(/^require/, '')
        .trim()
        .split(' '),
    )
    .find(([path]) => path === source);
  const version = words?.[1];
  if (version === undefined) throw new Error(`${name}/go.mod does not require ${source}`);
  return version;
}

/** The main package of a program: a `tool` of go.mod, unless the recipe names it. */
function packagePath(name: GoModuleName, program: string): string {
  const tools = goMod(name).match(/^(?:tool |\t)(\S+)$/gm) ?? [];
  const path =
    RECIPES[name].packages?.[program] ??
    tools.map((line) => line.replace(/^tool /, '').trim()).find((one) => basename(one) === program);
  if (path === undefined) throw new Error(`${name}/go.mod has no tool ${program}`);
  return path;
}

/** What `go build` calls the program of a package: the last part of its path that is no major version. */
function outputName(path: string): string {
  return basename(path.replace(/\/v\d+$/, ''));
}

/** Downloads what the packages need and nothing else. Returns how many packages there are to compile. */
async function fetchSources(
  go: Go,
  name: GoModuleName,
  packages: string[],
  journal: string,
): Promise<number> {
  const { tags = [] } = RECIPES[name];
  const argv = [go.command, 'list', '-mod=readonly', `-tags=${tags.join(',')}`, '-deps', ...packages];
  try {
    const { stdout } = await run(argv, { cwd: moduleFolder(name), env: go.env, timeoutSeconds: 900 });
    return stdout.trim().split('\n').length;
  } catch (error) {
    throw explain(messageOf(error), name, journal);
  }
}

async function build(
  go: Go,
  name: GoModuleName,
  packages: string[],
  total: number,
  folder: string,
  journal: string,
  log: Log,
): Promise<void> {
  const { title, variables, tags = [] } = RECIPES[name];
  const version = pinnedVersion(name);
  const settings = Object.entries(variables(version)).map(([variable, value]) => `-X ${variable}=${value}`);
  const what = `${title} ${moduleVersion(name)}`;
  const began = performance.now();
  const sink = openSync(journal, 'w');
  log(`building ${what}`);
  const progress = setInterval(() => {
    const seconds = Math.round((performance.now() - began) / 1000);
    const compiled = readFileSync(journal, 'utf8').split('\n').length - 1;
    log(`building ${what}: ${seconds} s, ${compiled} of at most ${total} packages`);
  }, 15_000);
  // Without debugging information, Kubernetes compiles in five sixths of the time.
  const argv = [
    go.command,
    'build',
    '-v',
    '-trimpath',
    '-buildvcs=false',
    '-mod=readonly',
    '-gcflags=all=-dwarf=false',
  ];
  argv.push(`-tags=${tags.join(',')}`, `-ldflags=${['-s', '-w', ...settings].join(' ')}`);
  argv.push('-o', `${folder}/`, ...packages);
  try {
    await run(argv, { cwd: moduleFolder(name), env: go.env, logTo: sink });
    log(`built ${what} in ${Math.round((performance.now() - began) / 1000)} s`);
  } catch {
    throw explain(readFileSync(journal, 'utf8'), name, journal);
  } finally {
    clearInterval(progress);
    closeSync(sink);
  }
}

/** The end of what the go command printed: the beginning may be thousands of package names. */
function tailOf(text: string): string {
  return text.trim().split('\n').slice(-15).join('\n');
}

/** What the go command's words mean for the person at the terminal. */
export function explain(text: string, name: GoModuleName, journal: string): LabError {
  const what = `${RECIPES[name].title} ${moduleVersion(name)}`;
  if (/checksum mismatch|SECURITY ERROR/.test(text)) {
    return new LabError(
      `the source of ${what} is not what go.sum pins. Check what GOPROXY names; nothing was built.\n${tailOf(text)}`,
    );
  }
  if (/no space left on device/.test(text)) {
    return new LabError(
      `the disk became full while building ${what}. Free some space and run the same command again: it continues from there.`,
    );
  }
  if (/signal: killed|cannot allocate memory/.test(text)) {
    return new LabError(
      `too little memory to build ${what} (something ended the compiler). Free some and run the same command again: it continues from there.`,
    );
  }
  if (/requires go >= |toolchain not available|invalid go version|unknown directive/.test(text)) {
    return new LabError(
      `the Go compiler is too old for ${what}, and a newer one cannot be fetched through the module proxy:\n${tailOf(text)}`,
    );
  }
  if (UNREACHABLE.test(text)) {
    return new ModulesUnreachable(
      `the source of ${what} cannot be fetched through the Go module proxy (${reasonOf(text)})`,
    );
  }
  return new LabError(`building ${what} failed; the end of ${journal}:\n${tailOf(text)}`);
}

/** How the go command says that a module could not be had. */
const UNREACHABLE =
  /module lookup disabled|GOPROXY=off|dial tcp|no such host|connection refused|i\/o timeout|TLS handshake|proxyconnect|unrecognized import path|EOF$|: (403|404|410|5\d\d) /m;

/** One line out of many that say the same. */
function reasonOf(text: string): string {
  const line = text.split('\n').find((one) => UNREACHABLE.test(one)) ?? text;
  return line.trim().slice(0, 200);
}
