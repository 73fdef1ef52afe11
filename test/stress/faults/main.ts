import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildGateImage } from '../../cluster/lab/gate-image.ts';
import { runInside } from '../../cluster/lab/inside.ts';
import { up } from '../../cluster/lab/lab.ts';
import { writePage } from '../../support/page-file.ts';
import { FAULTS, type Fault } from './faults.ts';
import { type FaultResults, page, textTable } from './results.ts';
import { type Outcome, runFault } from './run-fault.ts';
import { type Stage, setStage } from './stage.ts';

/** `npm run test:faults -- [--only NAME] [--times N]`: each fault again and again, on the lab. All of them write docs/faults.md. */
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    times: { type: 'string' },
    // Set by this file itself.
    inside: { type: 'boolean', default: false },
  },
});

interface Planned {
  readonly times: number;
  /** Undefined: it has no length of its own. */
  readonly seconds?: number;
}

/** Together some 20 minutes. */
const PLAN: Readonly<Record<string, Planned>> = {
  leader: { times: 20 },
  replicas: { times: 2 },
  'api-server': { times: 1, seconds: 60 },
  etcd: { times: 1, seconds: 60 },
  registry: { times: 1, seconds: 60 },
  certificates: { times: 2 },
  disk: { times: 1, seconds: 20 },
  nodes: { times: 3, seconds: 50 },
  upgrade: { times: 2 },
  watches: { times: 1, seconds: 20 },
  'api-errors': { times: 1, seconds: 20 },
};

const began = performance.now();

process.exitCode = values.inside ? await here() : await insideTheLab();

function say(line: string): void {
  const seconds = (performance.now() - began) / 1000;
  process.stderr.write(`${seconds.toFixed(0).padStart(5)} s  ${line}\n`);
}

async function insideTheLab(): Promise<number> {
  const lab = await up({ log: say });
  // Here already: no npm registry is reached from inside the lab.
  await buildGateImage(lab, say);
  const argv = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2), '--inside'];
  return await runInside(lab, argv);
}

async function here(): Promise<number> {
  const chosen = FAULTS.filter(({ name }) => values.only === undefined || values.only === name);
  if (chosen.length === 0) {
    process.stderr.write(`--only takes one of ${FAULTS.map(({ name }) => name).join(', ')}\n`);
    return 2;
  }
  say('installing two replicas of the gate');
  const stage = await setStage();
  const nodes = stage.lab.nodes().length;
  let stopping = false;
  process.on('SIGINT', () => {
    stopping = true;
    say('ends after this one');
  });
  try {
    const faults: FaultResults[] = [];
    for (const fault of chosen) {
      if (!stopping) faults.push(await repeat(stage, fault, () => stopping));
    }
    const results = {
      day: new Date().toISOString().slice(0, 10),
      kubernetesVersion: stage.lab.kubernetesVersion,
      nodes,
      minutes: Math.round((performance.now() - began) / 60_000),
      faults,
    };
    process.stdout.write(`${textTable(results)}\n`);
    if (values.only === undefined && !stopping) writePage('faults', page(results));
    const broken = faults.flatMap(({ outcomes }) => outcomes.flatMap((outcome) => outcome.broken));
    return broken.length === 0 && !stopping ? 0 : 1;
  } finally {
    await stage.end();
  }
}

async function repeat(stage: Stage, fault: Fault, isOver: () => boolean): Promise<FaultResults> {
  const { times, seconds } = PLAN[fault.name] ?? { times: 1 };
  const wanted = values.times === undefined ? times : Number(values.times);
  const outcomes: Outcome[] = [];
  // A namespace of its own for each fault: what the one before has left over is no part of it.
  const lane = await stage.lane();
  let unsettled = false;
  while (outcomes.length < wanted && !unsettled && !isOver()) {
    const outcome = await runFault(stage, lane, fault, { seconds: seconds ?? 0, log: say }).catch(unfinished);
    outcomes.push(outcome);
    say(`${fault.name} ${outcomes.length}/${wanted}: ${outcome.recoverySeconds.toFixed(1)} s`);
    for (const words of outcome.broken) say(`BROKEN: ${words}`);
    unsettled = !Number.isFinite(outcome.recoverySeconds);
  }
  await stage.api.delete(`/api/v1/namespaces/${lane.namespace.name}`);
  return { what: fault.what, from: fault.from, seconds, outcomes };
}

/** So is its repetition: what state all is in is not known. */
function unfinished(error: unknown): Outcome {
  const words = error instanceof Error ? error.message : String(error);
  return { recoverySeconds: Number.POSITIVE_INFINITY, holds: 0, broken: [words] };
}
