import { fileURLToPath } from 'node:url';
import { runInForeground } from './inside.ts';
import { attach } from './lab.ts';

/**
 * `npm start`: the gate as a process. With --kubeconfig it runs here and serves that cluster; without, it runs beside
 * the lab, in the lab's own network, where the API server reaches it by loopback.
 */
const main = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const args = process.argv.slice(2);
const command = [process.execPath, main, ...args];
const elsewhere = args.some((arg) => /^(--kubeconfig(=|$)|--help$|-h$|--version$|-V$)/.test(arg));

process.exitCode = await runInForeground(elsewhere ? command : await besideTheLab(command));

async function besideTheLab(argv: readonly string[]): Promise<string[]> {
  try {
    const lab = await attach();
    const unsupported = lab.isSupported ? [] : ['--unsupported-server'];
    return lab.enter([...argv, '--kubeconfig', lab.kubeconfig, ...unsupported]);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write('or name a cluster: npm start -- --kubeconfig FILE --context NAME\n');
    process.exit(1);
  }
}
