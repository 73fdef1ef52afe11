import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { cgroupHierarchies, type Hierarchy } from './cgroups.ts';
import { run } from './command.ts';
import { STATE } from './paths.ts';

export interface MachineFacts {
  platform: string;
  architecture: string;
  root: boolean;
  /** VERSION_CODENAME of /etc/os-release. */
  release: string;
  processors: number;
  availableMemoryMegabytes: number;
  freeCacheMegabytes: number;
  freeStateMegabytes: number;
  cgroups: (Hierarchy & { writable: boolean })[];
  missingCommands: string[];
  /** `true`, or what the attempt said. */
  namespaces: true | string;
  overlay: true | string;
  /** Packages and binaries are in the cache already. */
  cached: boolean;
  running: boolean;
}

/**
 * Measured: Go modules 1,500, compiled packages 3,000, programs 700, Debian packages 350 MB. The rest is margin.
 */
const FIRST_RUN_DISK = 8000;
/** On 2 cores, downloads included. */
const FIRST_RUN_MINUTES = 10;
/** Image stores of some nodes with some heavy images. */
const STATE_DISK = 3000;
/** Linking the API server takes most. */
const FIRST_RUN_MEMORY = 3000;
/** A lab of two nodes with some pods. */
const RUNNING_MEMORY = 2000;

/** What containers need: runc all of them, the kubelet the first four. */
const V1_CONTROLLERS = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'pids'];

const COMMANDS = ['apt-get', 'dpkg', 'flock', 'mount', 'nsenter', 'sh', 'sleep', 'tar', 'umount', 'unshare'];

/** Everything that is in the lab's way, each as one line that says what would help. */
export function lacking(facts: MachineFacts): string[] {
  const found: string[] = [];
  const want = (fine: boolean, line: string) => {
    if (!fine) {
      found.push(line);
    }
  };
  want(facts.platform === 'linux', `Linux: this is ${facts.platform}`);
  want(['x64', 'arm64'].includes(facts.architecture), `x86-64 or arm64: this is ${facts.architecture}`);
  if (facts.platform !== 'linux') {
    return found;
  }
  want(facts.root, 'root: namespaces, mounts and cgroups are made (sudo, or a root shell)');
  want(
    facts.release === 'bookworm',
    `Debian 12 (bookworm), because the lab unpacks its packages: this is ${facts.release || 'something else'}`,
  );
  want(facts.missingCommands.length === 0, `the commands ${facts.missingCommands.join(', ')}`);
  const cacheNeed = facts.cached ? 0 : FIRST_RUN_DISK;
  want(facts.freeCacheMegabytes >= cacheNeed, disk('the cache folder', cacheNeed, facts.freeCacheMegabytes));
  if (!facts.running) {
    want(facts.freeStateMegabytes >= STATE_DISK, disk(STATE, STATE_DISK, facts.freeStateMegabytes));
    const memory = facts.cached ? RUNNING_MEMORY : FIRST_RUN_MEMORY;
    want(
      facts.availableMemoryMegabytes >= memory,
      `memory: ${memory} MB available are needed, ${facts.availableMemoryMegabytes} MB are`,
    );
  }
  if (facts.root) {
    found.push(...lackingCgroups(facts.cgroups));
    want(
      facts.namespaces === true,
      `the right to make network, mount and pid namespaces (${facts.namespaces})`,
    );
    want(facts.overlay === true, `overlayfs below ${dirname(STATE)} (${facts.overlay})`);
  }
  return found;
}

function disk(where: string, need: number, free: number): string {
  return `disk: ${need} MB free are needed for ${where}, ${free} MB are`;
}

function lackingCgroups(cgroups: MachineFacts['cgroups']): string[] {
  const v1 = cgroups.filter(({ version }) => version === 1);
  const readOnly = cgroups.filter(({ writable }) => !writable).map(({ mountPoint }) => mountPoint);
  if (readOnly.length > 0) {
    return [`writable cgroups: ${readOnly.join(', ')} cannot be written (an unprivileged container?)`];
  }
  if (v1.length === 0) {
    return cgroups.length > 0 ? [] : ['cgroups: none are mounted'];
  }
  const have = v1.flatMap(({ controllers }) => controllers);
  const missing = V1_CONTROLLERS.filter((controller) => !have.includes(controller));
  return missing.length === 0 ? [] : [`cgroup controllers: ${missing.join(', ')} not mounted`];
}

export function firstRunNotice(facts: MachineFacts): string {
  const minutes = Math.ceil((FIRST_RUN_MINUTES * 2) / Math.max(1, Math.min(facts.processors, 4)));
  return `first run on this machine: about ${minutes} minutes to build Kubernetes from source. Later runs take seconds`;
}

export function refusal(lines: string[], facts: MachineFacts): string {
  return [
    'This machine cannot run the lab. It lacks:',
    ...lines.map((line) => `  - ${line}`),
    ...(facts.cached ? [] : [`(With that in place: ${firstRunNotice(facts)}.)`]),
    'On other systems (Debian 13, Ubuntu, macOS), use a virtual machine with Debian 12. Or create a cluster with kind',
    '(https://kind.sigs.k8s.io) and run: npm start -- --kubeconfig FILE --context NAME (see docs/install.md).',
  ].join('\n');
}

export async function collectFacts(cache: string, cached: boolean, running: boolean): Promise<MachineFacts> {
  const linux = process.platform === 'linux';
  const root = process.getuid?.() === 0;
  const read = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
  const [namespaces, overlay] =
    linux && root ? await Promise.all([tryNamespaces(), tryOverlay()]) : ['not tried', 'not tried'];
  return {
    platform: process.platform,
    architecture: process.arch,
    root,
    release: /^VERSION_CODENAME=(.*)$/m.exec(read('/etc/os-release'))?.[1] ?? '',
    processors: availableParallelism(),
    availableMemoryMegabytes: Math.floor(
      Number(/^MemAvailable:\s+(\d+)/m.exec(read('/proc/meminfo'))?.[1] ?? 0) / 1024,
    ),
    freeCacheMegabytes: freeMegabytes(cache),
    freeStateMegabytes: freeMegabytes(STATE),
    cgroups: cgroupHierarchies(read('/proc/mounts')).map((one) => ({
      ...one,
      writable: isWritable(one.mountPoint),
    })),
    missingCommands: COMMANDS.filter((command) => !isOnPath(command)),
    namespaces,
    overlay,
    cached,
    running,
  };
}

function freeMegabytes(folder: string): number {
  let existing = folder;
  while (!existsSync(existing)) {
    existing = dirname(existing);
  }
  const { bavail, bsize } = statfsSync(existing);
  return Math.floor((bavail * bsize) / 1e6);
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function isOnPath(command: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/sbin');
  return folders.some((folder) => existsSync(join(folder, command)));
}

async function tryNamespaces(): Promise<true | string> {
  return attempt(['unshare', '--net', '--mount', '--pid', '--fork', '--mount-proc', 'true']);
}

/**
 * A real mount, on the file system where the image stores will be: overlay on overlay, say, is refused
 * there.
 */
async function tryOverlay(): Promise<true | string> {
  const folder = `${STATE}-probe`;
  const parts = ['lower', 'upper', 'work', 'merged'].map((part) => join(folder, part));
  try {
    for (const part of parts) {
      mkdirSync(part, { recursive: true });
    }
    const [lower, upper, work, merged] = parts;
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    return await attempt([
      'unshare',
      '--mount',
      'mount',
      '-t',
      'overlay',
      'overlay',
      '-o',
      options,
      `${merged}`,
    ]);
  } catch (error) {
    return String(error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function attempt(argv: string[]): Promise<true | string> {
  try {
    const { code, stderr } = await run(argv, { allowFailure: true, timeoutSeconds: 2 });
    return code === 0 || stderr.trim() || `exit code ${code}`;
  } catch (error) {
    return String(error);
  }
}
