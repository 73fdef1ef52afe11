import type { Lab } from '../cluster/lab/lab.ts';
import type { Terminal } from './progress.ts';

export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** Runs a command line that begins with `kubectl`, and shows it with its answer, just as someone at a shell would see it. */
export type Shell = (command: string) => Promise<Answer>;

/** Only what takes longer is worth a number. */
const NOTED_SECONDS = 1;

export function createShell(lab: Lab, terminal: Terminal, signal: AbortSignal): Shell {
  return async (command) => {
    signal.throwIfAborted();
    const [program, ...args] = command.split(' ');
    if (program !== 'kubectl') throw new Error(`not a kubectl command: ${command}`);
    const began = performance.now();
    const { code, stdout, stderr } = await lab.kubectl(args, { timeoutSeconds: 300 });
    signal.throwIfAborted();
    const seconds = (performance.now() - began) / 1000;
    const notes = [
      ...(seconds >= NOTED_SECONDS ? [`${seconds.toFixed(1)} s`] : []),
      ...(code === 0 ? [] : [`exit code ${code}`]),
    ];
    terminal.print(`$ ${command}${notes.length === 0 ? '' : `   # ${notes.join(', ')}`}`);
    for (const line of inOrder(stdout, stderr)) terminal.print(`    ${line}`);
    return { exitCode: code, stdout, stderr, seconds };
  };
}

/** kubectl writes warnings before what it has to say, and an error after it. */
function inOrder(stdout: string, stderr: string): string[] {
  const lines = stderr.split('\n').filter(Boolean);
  const isWarning = (line: string) => line.startsWith('Warning: ');
  return [
    ...lines.filter(isWarning),
    ...stdout.split('\n').filter(Boolean),
    ...lines.filter((line) => !isWarning(line)),
  ];
}
