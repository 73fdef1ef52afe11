import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { LabError } from './errors.ts';
import { LOCK } from './paths.ts';

/**
 * Runs `work` while holding a machine-wide lock, that of the lab if no other is named. Node has no flock(2), so flock(1)
 * holds it for us for as long as our end of its stdin is open: however this process ends, the kernel closes the pipe and
 * the lock is free.
 */
export async function withLock<T>(
  log: (line: string) => void,
  work: () => Promise<T>,
  { path, of } = { path: LOCK, of: 'lab command' },
): Promise<T> {
  const announce = ['sh', '-c', 'echo locked; exec cat >/dev/null'];
  const holder = spawn('flock', ['--exclusive', '--no-fork', path, ...announce], {
    stdio: ['pipe', 'pipe', 'ignore'],
    // A Ctrl-C at the terminal reaches the whole foreground group; the lock must outlive our own clean-up.
    detached: true,
  });
  const waiting = setTimeout(() => log(`another ${of} is running: waiting for it`), 500);
  try {
    const first = await Promise.race([
      once(holder.stdout, 'data').then(() => 'locked'),
      once(holder, 'exit').then(() => 'exit'),
    ]);
    if (first !== 'locked') {
      throw new LabError(`cannot take the lock ${path}: is it writable?`);
    }
    clearTimeout(waiting);
    return await work();
  } finally {
    clearTimeout(waiting);
    holder.stdin.destroy();
  }
}
