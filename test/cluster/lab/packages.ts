import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { withSources } from './apt-sources.ts';
import { run } from './command.ts';
import { LabError, messageOf } from './errors.ts';

/** What a running lab needs besides what is built. Versions in Debian 12: runc 1.1.5, docker-registry 2.8.2. */
export const RUNTIME_PACKAGES = [
  'busybox-static',
  'conntrack',
  'containernetworking-plugins',
  'docker-registry',
  'iproute2',
  'ipset',
  'iptables',
  'nginx',
  'runc',
  'socat',
  'tini',
];

/** What runs with the fallback's Kubernetes. Versions in Debian 12: etcd 3.4.23, containerd 1.6.20. */
export const FALLBACK_PACKAGES = [...RUNTIME_PACKAGES, 'containerd', 'etcd-server', 'kubernetes-client'];

/** What building the fallback's Kubernetes needs. */
export const FALLBACK_BUILD_PACKAGES = [
  'golang-1.19-go',
  'golang-1.19-src',
  'golang-github-modern-go-reflect2-dev',
  'golang-go',
  'golang-src',
  'jq',
  'make',
  'rsync',
];

/** Belongs together with the machine's own dynamic loader, so it is never taken from a package. */
const NEVER_UNPACKED = new Set(['libc6', 'libc-bin']);

/** Unpacked packages: a folder like the root of a file system, and the environment that makes it usable. */
export interface Tools {
  root: string;
  env: Record<string, string>;
}

/**
 * apt with lists, caches and sources of its own, below `folder`; it reads the machine's package status
 * only.
 */
export class PrivateApt {
  readonly #folder: string;
  readonly #options: string[];
  readonly #backports: boolean;

  constructor(folder: string, { backports = false } = {}) {
    this.#folder = folder;
    this.#backports = backports;
    const settings = {
      'Dir::Etc::sourcelist': '/dev/null',
      'Dir::Etc::sourceparts': join(folder, 'sources'),
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::Cache': folder,
      'Dir::Cache::archives': join(folder, 'archives'),
      // Without it apt drops privileges to a user that cannot write below root's home.
      'APT::Sandbox::User': 'root',
    };
    this.#options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  }

  async prepare(log: (line: string) => void, refresh = false): Promise<void> {
    const sources = join(this.#folder, 'sources');
    const lists = join(this.#folder, 'lists');
    for (const folder of [sources, join(lists, 'partial'), join(this.#folder, 'archives', 'partial')]) {
      mkdirSync(folder, { recursive: true });
    }
    const machine = '/etc/apt/sources.list.d';
    const names = ['/etc/apt/sources.list'].concat(
      existsSync(machine) ? readdirSync(machine).map((name) => join(machine, name)) : [],
    );
    const files = names
      .filter((name) => /\.(list|sources)$/.test(name) && existsSync(name))
      .map((name) => ({ name: name.slice(name.lastIndexOf('/') + 1), text: readFileSync(name, 'utf8') }));
    const derived = withSources(files, this.#backports);
    if (derived.length === 0) {
      throw new LabError(
        'no apt source for Debian 12 (bookworm) main in /etc/apt/sources.list or sources.list.d',
      );
    }
    for (const { name, text } of derived) {
      writeFileSync(join(sources, `lab-${name}`), text);
    }
    if (refresh || !readdirSync(lists).some((name) => name.includes('Packages'))) {
      log('reading the package lists (apt, in a folder of its own)');
      await run(['apt-get', ...this.#options, 'update'], { timeoutSeconds: 300 });
    }
  }

  /** The packages and what they depend on that this machine does not have installed. */
  async closure(packages: string[]): Promise<string[]> {
    const simulation = await run(
      ['apt-get', ...this.#options, '--simulate', '--no-install-recommends', 'install', ...packages],
      { timeoutSeconds: 60, env: plainEnvironment() },
    );
    const missing = [...simulation.stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
    return [...new Set([...packages, ...missing])].filter((name) => !NEVER_UNPACKED.has(name)).sort();
  }

  async download(packages: string[], folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true });
    await run(['apt-get', ...this.#options, 'download', ...packages], { cwd: folder, timeoutSeconds: 900 });
  }

  async downloadSource(name: string, folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true });
    await run(['apt-get', ...this.#options, 'source', '--download-only', name], {
      cwd: folder,
      timeoutSeconds: 900,
    });
  }
}

/** apt's answers are parsed, so they must be in English. */
function plainEnvironment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: '/root', LC_ALL: 'C' };
}

/**
 * Unpacks packages below `<cache>/<name>-<key>`, once; nothing is installed, so no maintainer script runs
 * and no service of theirs starts. The key changes with the list of packages: clones that need others do
 * not disturb each other.
 */
export async function unpacked(
  cache: string,
  name: string,
  packages: string[],
  log: (line: string) => void,
): Promise<Tools> {
  const key = createHash('sha256').update(JSON.stringify(packages)).digest('hex').slice(0, 8);
  const root = join(cache, `${name}-${key}`);
  if (!existsSync(root)) {
    const partial = `${root}.partial`;
    rmSync(partial, { recursive: true, force: true });
    await unpackInto(partial, cache, log, async (apt) => {
      const closure = await apt.closure(packages);
      log(`downloading ${closure.length} Debian packages (${name})`);
      return closure;
    });
    linkAlternatives(partial);
    renameSync(partial, root);
  }
  return { root, env: environmentOf(root) };
}

/** Unpacks the packages that `choose` names, and nothing that they depend on. */
export async function unpackInto(
  root: string,
  cache: string,
  log: (line: string) => void,
  choose: (apt: PrivateApt) => Promise<string[]>,
  apt = new PrivateApt(join(cache, 'apt')),
): Promise<void> {
  const archives = join(root, 'archives');
  const fetch = async () => apt.download(await choose(apt), archives);
  await apt.prepare(log);
  await fetch().catch(async (error: unknown) => {
    // Lists that are some weeks old name versions that the mirror has replaced since.
    log(`that failed (${messageOf(error).split('\n')[0]}): once more with fresh package lists`);
    await apt.prepare(log, true);
    await fetch();
  });
  for (const archive of readdirSync(archives).filter((file) => file.endsWith('.deb'))) {
    await run(['dpkg', '-x', join(archives, archive), root]);
  }
  rmSync(archives, { recursive: true });
}

/** What the packages' maintainer scripts would have linked. */
function linkAlternatives(root: string): void {
  const folder = join(root, 'alternatives');
  for (const variant of ['nft', 'legacy']) {
    if (!existsSync(join(root, 'usr/sbin', `xtables-${variant}-multi`))) {
      continue;
    }
    mkdirSync(join(folder, variant), { recursive: true });
    for (const family of ['iptables', 'ip6tables']) {
      for (const suffix of ['', '-save', '-restore']) {
        symlinkSync(`../../usr/sbin/xtables-${variant}-multi`, join(folder, variant, `${family}${suffix}`));
      }
    }
  }
}

/**
 * Nothing of the caller's environment goes along: a proxy setting, say, would send containerd's requests
 * for the lab's registries out of the lab.
 */
function environmentOf(root: string): Record<string, string> {
  const folders = ['usr/lib/go-1.19/bin', 'usr/sbin', 'usr/bin', 'sbin', 'bin'].map((folder) =>
    join(root, folder),
  );
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  return {
    PATH: [...folders, '/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(
      ':',
    ),
    LD_LIBRARY_PATH: [join(root, 'usr/lib', triplet), join(root, 'lib', triplet)].join(':'),
    XTABLES_LIBDIR: join(root, 'usr/lib', triplet, 'xtables'),
    HOME: '/root',
    LC_ALL: 'C',
  };
}

/**
 * Whichever kind of iptables this kernel lets a network namespace have; kube-proxy needs NAT, marks and
 * matches.
 */
export async function withIptables(tools: Tools): Promise<Tools> {
  const rule =
    '-t nat -A PREROUTING -m comment --comment x -m addrtype --dst-type LOCAL -m statistic --mode random'
      .concat(' --probability 0.5 -m mark --mark 0x4000 -j RETURN')
      .split(' ');
  const said: string[] = [];
  for (const variant of ['nft', 'legacy']) {
    const folder = join(tools.root, 'alternatives', variant);
    const env = { ...tools.env, PATH: `${folder}:${tools.env['PATH']}` };
    const trial = await run(['unshare', '--net', 'iptables', ...rule], { env, allowFailure: true });
    if (trial.code === 0) {
      return { root: tools.root, env };
    }
    said.push(`${variant}: ${trial.stderr.trim()}`);
  }
  throw new LabError(
    `this kernel lets no network namespace have iptables NAT rules (${said.join('; ')}). ` +
      'Load the modules (modprobe nft_compat nft_chain_nat xt_addrtype xt_statistic xt_mark xt_MASQUERADE), ' +
      'or use kind on another machine.',
  );
}
