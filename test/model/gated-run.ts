import { fileURLToPath } from 'node:url';
import { asString } from '../../src/json.ts';
import { freePort, type GateProcess, spawnGate } from '../e2e/gate-process.ts';
import type { Lab } from '../lab/lab.ts';
import type { GateSettings } from './gate.ts';
import type { GateTimes, Span } from './history.ts';

const MAIN = fileURLToPath(new URL('gate.ts', import.meta.url));
const READY_SECONDS = 60;

const SETTINGS: Pick<GateSettings, 'settings' | 'pullTimes'> = {
  settings: {
    parallelism: undefined,
    minNodes: '100%',
    nodeTimeoutSeconds: 6,
    deadlineSeconds: 15,
    ttlSecondsAfterFinished: 25,
  },
  pullTimes: {
    backoffMs: 1000,
    backoffLimitMs: 3000,
    doubtMs: 500,
    givenUpAfterMs: 5000,
    noNodesMs: 6000,
    creatingMs: 2000,
  },
};

export const TIMES: GateTimes = {
  nodeTimeoutSeconds: SETTINGS.settings.nodeTimeoutSeconds,
  deadlineSeconds: SETTINGS.settings.deadlineSeconds,
  givenUpAfterMs: SETTINGS.pullTimes.givenUpAfterMs,
  noNodesMs: SETTINGS.pullTimes.noNodesMs,
};

/** The one gate of all sequences, which can be killed and started again. */
export interface RunningGate {
  /** When it may not have answered; the last one is open as long as it is down. */
  readonly down: readonly Span[];
  /** What it has written that it should not have. */
  readonly faults: readonly string[];
  start(): Promise<void>;
  kill(): Promise<void>;
  /** As an operator does: holds are released. */
  stop(): Promise<void>;
}

export async function runGate(lab: Lab): Promise<RunningGate> {
  const port = await freePort();
  const argument: GateSettings = { kubeconfig: lab.kubeconfig, port, ...SETTINGS };
  const down: { from: number; to: number }[] = [];
  const faults: string[] = [];
  let process: GateProcess | undefined;

  async function start(): Promise<void> {
    if (process !== undefined) return;
    const started = spawnGate([JSON.stringify(argument)], {}, MAIN);
    process = started;
    const over = await Promise.race([
      started.logged('the gate is ready', READY_SECONDS, ({ msg }) => msg === 'ready'),
      started.ended,
    ]);
    if (typeof over === 'number') {
      const said = [...started.lines.map(({ msg }) => asString(msg)), ...started.text].join('\n');
      throw new Error(`the gate ended with ${over}: ${said}`);
    }
    const open = down.at(-1);
    if (open !== undefined) open.to = performance.now() + ANSWERS_AGAIN_MS;
    void started.ended.then((code) => {
      if (process === started)
        faults.push(`the gate ended by itself with ${code}: ${started.text.join('\n')}`);
    });
  }

  return {
    down,
    faults,
    start,
    async kill() {
      const killed = process;
      if (killed === undefined) return;
      process = undefined;
      down.push({ from: performance.now(), to: Number.POSITIVE_INFINITY });
      await killed.kill9();
    },
    async stop() {
      const stopped = process;
      process = undefined;
      const code = await stopped?.stop();
      if (code !== undefined && code !== 0) faults.push(`the gate stopped with ${code}`);
    },
  };
}

/** Until API servers have read the new certificate from the webhook configuration. */
const ANSWERS_AGAIN_MS = 500;
