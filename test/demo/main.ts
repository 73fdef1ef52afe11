import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { endActiveCommands } from '../cluster/lab/command.ts';
import { type Lab, up } from '../cluster/lab/lab.ts';
import { connect } from '../support/e2e/gated-lab.ts';
import { GATE_LOG, gateLogTail, gatePid, startGate, stopGate } from './gate-process.ts';
import { type Observer, observe } from './observe.ts';
import { createTerminal } from './progress.ts';
import type { Results } from './results.ts';
import { missingTag, upgrade } from './scenario.ts';
import { createShell } from './shell.ts';
import { summary } from './summary.ts';
import { markdownTable, textTable } from './table.ts';
import { brokenPromises } from './verdict.ts';
import { DEMO_LABEL, GATED, manifests, UNGATED } from './workloads.ts';

const USAGE = `usage: npm run demo [-- --keep] [--markdown FILE]

One upgrade with and without the gate, on the lab: a single replica and three replicas get a heavy new image, then a
tag that does not exist. Ends with a table, and with exit code 0 only if the gate kept its promises.

  --keep            leave the namespaces and the gate running, to look around
  --markdown FILE   write the table to this file as well
`;

const MEGABYTES = 300;
const REPOSITORY = 'demo-app';
const PLAN = `Pullgate demo, 2 to 3 minutes: one upgrade with and without the gate, on a real cluster on this machine.

  prepare  the lab, two images of ${MEGABYTES} MB, the gate, two namespaces with two Deployments each    10 s
  (a)      ungated: both Deployments get a new image, from a registry that gives 10 MB/s        35 to 65 s
  (b)      gated: the same, to another image, in a namespace with pullgate.io/mode=pause        35 to 45 s
  (c)      a tag that does not exist, in both namespaces                                        25 s
  end      the table and what it means; all but the lab is taken away                           10 s

The very first run on a machine also prepares the lab, and says how long that takes.
`;

interface Made {
  readonly lab: Lab;
  readonly client: ApiClient;
  /** Images by node, before the demo. */
  readonly stores: ReadonlyMap<string, readonly string[]>;
}

let flags: { keep: boolean; markdown?: string | undefined; help: boolean };
try {
  flags = parseArgs({
    options: {
      keep: { type: 'boolean', default: false },
      markdown: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values;
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n\n${USAGE}`);
  process.exit(2);
}
if (flags.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

const terminal = createTerminal(process.stdout);
const interruption = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // Before there is anything to take away, and the second time, at once.
    endActiveCommands();
    if (made === undefined || interruption.signal.aborted) process.exit(130);
    terminal.settle();
    interruption.abort(new Error(`stopped by ${name}`));
  });
}
let made: Made | undefined;

const exitCode = await demo();
// What was interrupted may still be waiting for something.
if (interruption.signal.aborted) process.exit(exitCode);
process.exitCode = exitCode;

/** The exit code. */
async function demo(): Promise<number> {
  const began = performance.now();
  let exitCode = 1;
  try {
    terminal.print(PLAN);
    made = await prepare();
    const results = await Promise.race([run(made), interrupted()]);
    exitCode = conclude(results);
  } catch (error) {
    terminal.print();
    terminal.print(`The demo broke off: ${messageOf(error)}`);
    if (interruption.signal.aborted) exitCode = 130;
    else if (made !== undefined) terminal.print(`Last lines of ${GATE_LOG}:\n${gateLogTail(10)}`);
  }
  if (made === undefined) return exitCode;
  if (flags.keep && !interruption.signal.aborted) sayWhatIsKept(made.lab);
  else await takeAway(made);
  await made.client.close();
  terminal.print(`This run took ${((performance.now() - began) / 1000).toFixed(0)} s.`);
  return exitCode;
}

async function prepare(): Promise<Made> {
  const lab = await up({ log: (line) => terminal.print(`  lab: ${line}`) });
  terminal.print();
  terminal.print(`Cluster:  ${lab.context}, Kubernetes ${lab.kubernetesVersion} at ${lab.server}`);
  terminal.print(`Nodes:    ${lab.nodes().join(', ')}`);
  terminal.print(`Every command below can be run by hand after: export KUBECONFIG=${lab.kubeconfig}`);
  const client = await connect(lab);
  const stores = new Map(
    await Promise.all(lab.nodes().map(async (node) => [node, await lab.nodeImages(node)] as const)),
  );
  return { lab, client, stores };
}

async function run({ lab, client }: Made): Promise<Results> {
  const { signal } = interruption;
  const shell = createShell(lab, terminal, signal);
  const began = performance.now();
  if (gatePid() !== undefined) {
    terminal.print('Taking away what an earlier demo left ...');
    await stopGate();
  }
  await deleteNamespaces(lab);
  signal.throwIfAborted();

  // Names that no node has seen: only so is the pull a whole one, in every run.
  const id = Date.now().toString(36);
  const slow = (tag: string) => `${lab.slowRegistry}/${REPOSITORY}:${tag}-${id}`;
  const images = { ungated: slow('ungated'), gated: slow('gated'), missing: slow('missing') };
  terminal.print(`\nPreparing: the images`);
  const push = (tag: string, megabytes: number) =>
    lab.pushImage({ repository: REPOSITORY, tag, base: 'busybox', megabytes });
  const base = await push('base', 0);
  await push(`ungated-${id}`, MEGABYTES);
  await push(`gated-${id}`, MEGABYTES);
  signal.throwIfAborted();
  terminal.print(`Preparing: the gate; its output: ${GATE_LOG}`);
  await startGate(lab);
  signal.throwIfAborted();

  terminal.print(`Preparing: the namespaces ${UNGATED} and ${GATED}, with what runs first (${base})`);
  const observer: Observer = await observe(client, DEMO_LABEL);
  try {
    signal.throwIfAborted();
    const applied = await lab.kubectl(['apply', '-f', '-'], { input: JSON.stringify(manifests(base)) });
    if (applied.code !== 0) throw new Error(applied.stderr);
    await everythingIsReady(lab, signal);
    await shell(`kubectl get deploy -A -l ${DEMO_LABEL}`);
    await shell(`kubectl get namespaces -l ${DEMO_LABEL} -L pullgate.io/mode`);
    terminal.print(`Prepared in ${((performance.now() - began) / 1000).toFixed(0)} s.`);

    const stage = { lab, client, observer, terminal, shell };
    heading('(a) Ungated: the rollout begins, then its image is pulled');
    const ungated = await upgrade(stage, UNGATED, images.ungated);
    heading('(b) Gated: the image is pulled onto every node, then the rollout begins');
    const gated = await upgrade(stage, GATED, images.gated);
    heading('(c) A tag that does not exist, on the single replica, in both');
    const missing = await missingTag(stage, images.missing, images);
    return { nodes: lab.nodes(), megabytes: MEGABYTES, ungated, gated, missing };
  } finally {
    await observer.stop();
  }
}

async function everythingIsReady(lab: Lab, signal: AbortSignal): Promise<void> {
  for (const namespace of [UNGATED, GATED]) {
    for (const name of ['critical', 'web']) {
      signal.throwIfAborted();
      const args = ['-n', namespace, 'rollout', 'status', `deployment/${name}`, '--timeout=90s'];
      const { code, stdout, stderr } = await lab.kubectl(args);
      if (code !== 0) throw new Error(`${namespace}/${name} does not become ready: ${stderr}${stdout}`);
    }
  }
}

function conclude(results: Results): number {
  heading('Result');
  terminal.print(textTable(results));
  terminal.print();
  for (const line of summary(results)) terminal.print(line);
  terminal.print();
  if (flags.markdown !== undefined) writeFileSync(flags.markdown, `${markdownTable(results)}\n`);
  const broken = brokenPromises(results);
  if (broken.length === 0) {
    terminal.print('OK: every promise was kept.');
    return 0;
  }
  terminal.print('FAILED: broken promises');
  for (const promise of broken) terminal.print(`  - ${promise}`);
  terminal.print(`Last lines of ${GATE_LOG}:\n${gateLogTail(10)}`);
  return 1;
}

function sayWhatIsKept(lab: Lab): void {
  terminal.print();
  terminal.print('Kept: the namespaces, the gate and the lab. Look around:');
  terminal.print(`  export KUBECONFIG=${lab.kubeconfig}`);
  for (const command of [
    `kubectl -n ${GATED} get deploy,pods,ipl -o wide`,
    `kubectl -n ${GATED} get events --sort-by=.metadata.creationTimestamp`,
    `kubectl -n ${GATED} describe deployment critical`,
    `less ${GATE_LOG}`,
  ])
    terminal.print(`  ${command}`);
  terminal.print(
    'The next demo replaces the namespaces and the gate. The end of everything: npm run lab -- down',
  );
}

async function takeAway({ lab, stores }: Made): Promise<void> {
  terminal.print();
  terminal.print('Taking away the namespaces, the gate, and the images from the nodes ...');
  try {
    await deleteNamespaces(lab);
    await stopGate();
    for (const [node, before] of stores) {
      // With the tag alone gone, the runtime keeps the image under its digest and its id.
      const added = (await lab.nodeImages(node)).filter((image) => !before.includes(image));
      for (const image of added) {
        if (image.startsWith('sha256:') || image.includes(`/${REPOSITORY}`)) {
          await lab.removeNodeImage(node, image);
        }
      }
    }
    terminal.print('Done. The lab stays up for the next run: npm run lab -- down ends it.');
    terminal.print('To look around in what the demo made: npm run demo -- --keep');
  } catch (error) {
    terminal.print(`Not everything could be taken away: ${messageOf(error)}`);
    terminal.print('This ends all of it: npm run lab -- down');
  }
}

async function deleteNamespaces(lab: Lab): Promise<void> {
  const must = async (...args: string[]) => {
    const { code, stderr } = await lab.kubectl(args);
    if (code !== 0) throw new Error(stderr.trim());
  };
  const there = '--ignore-not-found';
  await must('delete', 'namespace', UNGATED, GATED, there, '--wait=false');
  // A pod that never started, or is still pulling, would take an old kubelet more than a minute to let go.
  for (const namespace of [UNGATED, GATED]) {
    await must(
      '-n',
      namespace,
      'delete',
      'pods',
      '--all',
      there,
      '--force',
      '--grace-period=0',
      '--wait=false',
    );
  }
  await must('delete', 'namespace', UNGATED, GATED, there, '--timeout=90s');
}

function heading(text: string): void {
  terminal.print(`\n== ${text}\n`);
}

function interrupted(): Promise<never> {
  return new Promise((_resolve, reject) => {
    const { signal } = interruption;
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
