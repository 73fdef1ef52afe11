import { type ChildProcess, spawn } from 'node:child_process';
import { LabError } from './errors.ts';

interface CommandOptions {
  env?: Record<string, string>;
  cwd?: string;
  input?: string;
  timeoutSeconds?: number;
  /** Return a non-zero exit code instead of throwing. */
  allowFailure?: boolean;
  /** stdout and stderr go to this file descriptor instead of being collected. */
  logTo?: number;
}

export interface CommandResult {
  stdout: string;
  stderr: string;
  code: number;
}

const active = new Set<ChildProcess>();

/**
 * Ends what this process is waiting for, with its children (an interrupted build must not go on compiling).
 */
export function endActiveCommands(): void {
  for (const child of active) {
    if (child.pid !== undefined) {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Already gone.
      }
    }
  }
}

/** Runs a command in a process group of its own and waits for it. */
export function run(argv: string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file, ...args] = argv;
  if (file === undefined) {
    throw new LabError('empty command');
  }
  return new Promise((resolve, reject) => {
    const sink = options.logTo ?? 'pipe';
    const child = spawn(file, args, {
      env: options.env ?? process.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: [options.input === undefined ? 'ignore' : 'pipe', sink, sink],
      detached: true,
    });
    active.add(child);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let timedOut = false;
    const timer =
      options.timeoutSeconds === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            if (child.pid !== undefined) {
              process.kill(-child.pid, 'SIGKILL');
            }
          }, options.timeoutSeconds * 1000);
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A child that ends before it has read its input: its exit code tells the story.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input);
    child.on('error', (error) => {
      active.delete(child);
      clearTimeout(timer);
      reject(new LabError(`cannot run ${file}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      active.delete(child);
      clearTimeout(timer);
      const result = {
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
        code: code ?? 128,
      };
      if (result.code === 0 || (options.allowFailure && !timedOut)) {
        resolve(result);
        return;
      }
      const why = timedOut ? `no end after ${options.timeoutSeconds} s` : (signal ?? `exit code ${code}`);
      const words = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-8).join('\n');
      reject(new LabError(`${argv.join(' ').slice(0, 300)}: ${why}${words ? `\n${words}` : ''}`));
    });
  });
}
