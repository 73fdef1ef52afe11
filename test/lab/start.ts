import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { attach } from './lab.ts';

/**
 * `npm start`: the gate as a process. With --kubeconfig it runs here and serves that cluster; without, it runs beside
 * the lab, in the lab's own network, where the API server reaches it by loopback.
 */
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const args = process.argv.slice(2);
const command = [process.execPath, main, ...args];
const elsewhere = args.some((arg) => /^(--kubeconfig(=|$)|--help$|-h$|--version$|-V$)/.test(arg));

const [program, ...rest] = elsewhere ? command : await besideTheLab(command);
const child = spawn(program ?? process.execPath, rest, { stdio: 'inherit' });
// Ctrl-C reaches the gate from the terminal; this process only waits until it has released what it holds.
process.on('SIGINT', () => undefined);
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});

async function besideTheLab(argv: readonly string[]): Promise<string[]> {
  try {
    const lab = await attach();
    return lab.enter([...argv, '--kubeconfig', lab.kubeconfig]);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write('or name a cluster: npm start -- --kubeconfig FILE --context NAME\n');
    process.exit(1);
  }
}
