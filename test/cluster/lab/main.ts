import { parseArgs } from 'node:util';
import { MOST_NODES } from './addresses.ts';
import { endActiveCommands } from './command.ts';
import { LabError, messageOf } from './errors.ts';
import { buildGateImage } from './gate-image.ts';
import { attach, down, type LabStatus, status, up } from './lab.ts';
import { RELEASES, type Release } from './prepare.ts';

const USAGE = `usage: npm run lab -- up [--nodes N] [--kubernetes ${RELEASES.join('|')}] | down | status | image`;

const began = performance.now();

function log(line: string): void {
  const seconds = (performance.now() - began) / 1000;
  process.stderr.write(`${seconds.toFixed(1).padStart(6)} s  ${line}\n`);
}

function nodeCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > MOST_NODES) {
    throw new LabError(`--nodes takes a number from 1 to ${MOST_NODES}, not ${text}`);
  }
  return count;
}

function release(text: string | undefined): Release | undefined {
  const known = RELEASES.find((one) => one === text);
  if (text === undefined || known !== undefined) return known;
  throw new LabError(`--kubernetes takes ${RELEASES.join(', ')}, not ${text}`);
}

async function main(argv: string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { nodes: { type: 'string', default: '2' }, kubernetes: { type: 'string' } },
  });
  const [command, ...rest] = positionals;
  if (rest.length > 0) {
    throw new LabError(USAGE);
  }
  switch (command) {
    case 'up': {
      const lab = await up({ nodes: nodeCount(values.nodes), kubernetes: release(values.kubernetes), log });
      log(`ready: Kubernetes ${lab.kubernetesVersion}`);
      process.stdout.write(`${lab.kubectlCommand.join(' ')} get nodes\nKUBECONFIG: ${lab.kubeconfig}\n`);
      return;
    }
    case 'down':
      await down(log);
      return;
    case 'status': {
      const current = await status();
      process.stdout.write(describe(current));
      process.exitCode = current.healthy ? 0 : 1;
      return;
    }
    case 'image':
      process.stdout.write(`${await buildGateImage(await attach(), log)}\n`);
      return;
    default:
      throw new LabError(USAGE);
  }
}

function describe(current: LabStatus): string {
  if (!current.running) {
    return `${current.problems.join('; ')} (npm run lab -- up)\n`;
  }
  const health = current.healthy ? 'healthy' : 'NOT healthy';
  const lines = [
    `Kubernetes ${current.kubernetesVersion} at ${current.server}: ${health}`,
    ...current.problems.map((problem) => `  ! ${problem}`),
    `kubeconfig  ${current.kubeconfig}`,
    ...Object.entries(current.registries).map(([name, address]) => `${name.padEnd(11)} ${address}`),
    ...current.nodes.map(({ name, ready, connected, kubeletVersion, runtimeVersion }) => {
      const condition = `${ready ? 'Ready' : 'NotReady'}${connected ? '' : ', cut off'}`;
      return `${name.padEnd(11)} ${condition}, kubelet ${kubeletVersion}, ${runtimeVersion}`;
    }),
    ...current.components.map(
      ({ name, pid, alive }) => `  ${alive ? 'alive' : 'DEAD '}  ${name} ${pid ?? ''}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    endActiveCommands();
    log(`stopped by ${name}: \`up\` goes on from here, \`down\` removes what there is`);
    process.exit(name === 'SIGINT' ? 130 : 143);
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
