import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { CGROUP_VARIABLE, cgroupOfMachine, removeCgroupsSoon } from './cgroups.ts';
import { LabError } from './errors.ts';
import { cacheFolder, STATE } from './paths.ts';

/** A machine within this one, for a lab of its own: the labs see nothing of each other. */
export interface Machine {
  /** The same command, run in there. */
  enter(argv: readonly string[]): string[];
  /** The folder of its lab, seen from here. */
  readonly state: string;
  /** Ends every process in there. */
  stop(): Promise<void>;
  /** Removes what it had. */
  remove(): Promise<void>;
}

/** For what takes some milliseconds. */
const START_SECONDS = 20;

/**
 * Everything in there ends with this process, and it ends with the one that started it, however that ends: the kernel closes the
 * pipe then. A shell, because somebody has to wait for processes whose parents are gone.
 */
const FIRST_PROCESS = `set -e
mount --bind "$0" /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
ip link set lo up
echo ready
cat >/dev/null
`;

/**
 * It is made of namespaces: of mounts (its lab has its own folder, lock and named network namespaces), of processes (it finds no
 * others) and of networks (the same addresses are free, and there is no way out: whatever has to be fetched or built is so before).
 * Its lab's cgroup gets another name instead: with cgroup v2, processes in the root of a cgroup namespace forbid it to have
 * controllers.
 *
 * `env` leads to `ip`.
 */
export async function startMachine(name: string, env: Readonly<Record<string, string>>): Promise<Machine> {
  const folder = `${STATE}-${name}`;
  const hidden = `${dirname(folder)}/`;
  for (const path of [import.meta.filename, process.execPath, cacheFolder()]) {
    if (path.startsWith(hidden)) throw new LabError(`${path} is below ${hidden}, where it has its own files`);
  }
  const cgroup = cgroupOfMachine(name);
  const remove = async () => {
    await removeCgroupsSoon(cgroup);
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  // What a run has left that was killed.
  await remove();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const unshare = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--'];
  const first = spawn('unshare', [...unshare, 'sh', '-c', FIRST_PROCESS, folder], {
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
    // A Ctrl-C at the terminal is for the program that runs in there.
    detached: true,
  });
  const ended = once(first, 'close').catch((error: unknown) => error);
  const said = text(first.stderr);
  const stop = async () => {
    first.stdin.destroy();
    const late = setTimeout(() => first.kill('SIGKILL'), START_SECONDS * 1000);
    await ended;
    clearTimeout(late);
  };
  const isReady = await Promise.race([
    once(first.stdout, 'data').then(() => true),
    ended.then(() => false),
    new Promise<false>((resolve) => setTimeout(resolve, START_SECONDS * 1000, false).unref()),
  ]);
  if (!isReady) {
    await stop();
    await remove();
    throw new LabError(`no namespaces for a machine: ${(await said).trim() || 'no word'}`);
  }
  // unshare(1) itself is in all but the namespace of processes, which is for its child.
  const namespaces = [
    `--target=${first.pid}`,
    '--mount',
    '--net',
    `--pid=/proc/${first.pid}/ns/pid_for_children`,
  ];
  return {
    enter: (argv) => [
      'nsenter',
      ...namespaces,
      `--wd=${process.cwd()}`,
      '--',
      'env',
      `${CGROUP_VARIABLE}=${cgroup}`,
      ...argv,
    ],
    state: join(folder, STATE.slice(hidden.length)),
    stop,
    remove,
  };
}
