import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Lab } from '../cluster/lab/lab.ts';
import { state } from '../cluster/lab/paths.ts';
import { ensureRunning, isAlive, mainProcess, signal } from '../cluster/lab/process-table.ts';
import { GiveUp, until } from '../cluster/lab/until.ts';

/** Marked like a component of the lab, so that the lab's end is its end, and a later demo finds one that was kept. */
const COMPONENT = 'demo/gate';
export const GATE_LOG = state('logs', 'demo-gate.log');

export function gatePid(): number | undefined {
  return mainProcess(COMPONENT)?.pid;
}

/** Starts the gate beside the lab, and returns when it serves. */
export async function startGate(lab: Lab): Promise<void> {
  mkdirSync(dirname(GATE_LOG), { recursive: true });
  writeFileSync(GATE_LOG, '');
  const main = join(import.meta.dirname, '../../src/main.ts');
  const unsupported = lab.isSupported ? [] : ['--unsupported-server'];
  const argv = lab.enter([process.execPath, main, '--kubeconfig', lab.kubeconfig, ...unsupported]);
  await ensureRunning({ name: COMPONENT, argv, env: { PATH: process.env['PATH'] ?? '' } });
  await until('the gate is ready', 30, () => {
    if (readFileSync(GATE_LOG, 'utf8').includes('"msg":"ready"')) return true;
    if (gatePid() === undefined) throw new GiveUp('the gate has ended');
    return 'not yet';
  });
}

/** Lets it release what it holds and take its registration away. */
export async function stopGate(): Promise<void> {
  const pid = gatePid();
  if (pid === undefined) return;
  signal(pid, 'SIGTERM');
  await until('the gate ends', 20, () => !isAlive(pid) || 'still there');
}

export function gateLogTail(lines: number): string {
  try {
    return readFileSync(GATE_LOG, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
