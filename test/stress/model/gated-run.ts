import type { JsonObject } from '../../../src/json.ts';
import type { PullTimes } from '../../../src/preloads/assess/pull-times.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { type GateProcess, startGate } from '../../support/e2e/gate-process.ts';
import { freePort } from '../../support/free-port.ts';
import type { GateTimes, Span } from './history.ts';

const SECONDS = { nodeTimeout: 6, deadline: 15, ttl: 25 };
const PULL_TIMES: PullTimes = {
  backoffMs: 1000,
  backoffLimitMs: 3000,
  doubtMs: 500,
  missingMs: 500,
  givenUpAfterMs: 5000,
  noNodesMs: 6000,
  creatingMs: 2000,
  absentMs: 120_000,
};

export const TIMES: GateTimes = {
  nodeTimeoutSeconds: SECONDS.nodeTimeout,
  deadlineSeconds: SECONDS.deadline,
  givenUpAfterMs: PULL_TIMES.givenUpAfterMs,
  noNodesMs: PULL_TIMES.noNodesMs,
};

/** The one gate of all sequences, which can be killed and started again. */
export interface RunningGate {
  /** Whether it runs with --bypass-needs-permission. */
  readonly needsPermission: boolean;
  /** When it may not have answered; the last one is open as long as it is down. */
  readonly down: readonly Span[];
  /** Its log, of all its processes. */
  lines(): readonly JsonObject[];
  /** What it has written that it should not have. */
  readonly faults: readonly string[];
  start(): Promise<void>;
  kill(): Promise<void>;
  /** As an operator does: holds are released. */
  stop(): Promise<void>;
}

export async function runGate(lab: Lab, needsPermission = false): Promise<RunningGate> {
  const port = await freePort();
  const flags = [
    ['--node-timeout-seconds', SECONDS.nodeTimeout],
    ['--deadline-seconds', SECONDS.deadline],
    ['--ttl-seconds', SECONDS.ttl],
    ...(needsPermission ? [['--bypass-needs-permission']] : []),
  ].flatMap((pair) => pair.map(String));
  const down: { from: number; to: number }[] = [];
  const faults: string[] = [];
  const logs: (readonly JsonObject[])[] = [];
  let process: GateProcess | undefined;

  async function start(): Promise<void> {
    if (process !== undefined) return;
    const started = await startGate(lab, { flags, port, pullTimes: PULL_TIMES });
    process = started;
    logs.push(started.lines);
    const open = down.at(-1);
    if (open !== undefined) open.to = performance.now() + ANSWERS_AGAIN_MS;
    void started.ended.then((code) => {
      if (process === started)
        faults.push(`the gate ended by itself with ${code}: ${started.text.join('\n')}`);
    });
  }

  return {
    needsPermission,
    down,
    faults,
    lines: () => logs.flat(),
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
