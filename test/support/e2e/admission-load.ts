import assert from 'node:assert/strict';
import { HOLD_ANNOTATION } from '../../../src/api/names.ts';
import { systemClock, wait } from '../../../src/clock.ts';
import { asArray, asString, at } from '../../../src/json.ts';
import { percentile } from '../percentile.ts';
import { deploy } from './deployment.ts';
import { connect } from './gated-lab.ts';
import type { Namespace, Scope } from './namespace.ts';
import { until } from './until.ts';

interface LoadOptions {
  readonly perSecond: number;
  /** Then it ends by itself. A test that comes to its end only then has had no load for a while: that counts as a failure. */
  readonly atMostSeconds: number;
}

export interface LoadResult {
  readonly asked: number;
  readonly held: number;
  /** How the others came back, and when they were due: the first ones. */
  readonly failures: readonly string[];
  readonly seconds: number;
  /** From when a request was due, not from when it was sent: one that waits behind a slow one counts as slow. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

export interface AdmissionLoad {
  /** Resolves when all that was asked has been answered. */
  stop(): Promise<LoadResult>;
}

/** The webhook has 5 s (`timeoutSeconds` in its configuration); what takes twice that is as good as no answer. */
const DEADLINE_MS = 10_000;
const FAILURES_TOLD = 20;
const TARGETS = ['loaded-1', 'loaded-2'];

/**
 * Updates that need a pull, so many a second however long the answers take, through the API server to Deployments of this
 * namespace, which is opted in to mode pause. They are dry runs: each is admitted as any other, and nothing comes of it.
 * An admission that failed shows in any case: as an answer without a hold, or, with failurePolicy Fail, as an error.
 * Begins once one of them came back held.
 */
export async function startLoad(
  scope: Scope,
  namespace: Namespace,
  { perSecond, atMostSeconds }: LoadOptions,
): Promise<AdmissionLoad> {
  await Promise.all(TARGETS.map((name) => deploy(namespace, name)));
  // Its own: nothing else of the test waits behind it, nor it behind anything.
  const client = await connect(namespace.lab);
  const stopping = new AbortController();

  /** What the answer lacks of an update that is held; undefined: nothing. */
  async function ask(index: number): Promise<string | undefined> {
    const name = TARGETS[index % TARGETS.length];
    const image = `registry.test/${namespace.name}/load:${index}`;
    const body = { spec: { template: { spec: { containers: [{ name: 'app', image }] } } } };
    const path = `/apis/apps/v1/namespaces/${namespace.name}/deployments/${name}`;
    try {
      // No second attempt: the first one is what is to be seen.
      const options = { retry: false, deadlineMs: DEADLINE_MS };
      return lackOf(await client.strategicPatch(path, body, { dryRun: 'All' }, options), image);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  await until(
    'an update comes back held',
    20,
    () => ask(0),
    (lack) => lack === undefined,
  );

  const latencies: number[] = [];
  const failures: string[] = [];
  const calls: Promise<void>[] = [];
  const began = performance.now();
  let asked = 0;
  let held = 0;

  async function one(index: number, due: number): Promise<void> {
    const lack = await ask(index);
    latencies.push(performance.now() - due);
    if (lack === undefined) held += 1;
    else if (failures.length < FAILURES_TOLD) failures.push(`${told(due)}: ${lack}`);
  }

  async function run(): Promise<void> {
    const most = perSecond * atMostSeconds;
    for (; asked < most; asked += 1) {
      const due = began + (asked * 1000) / perSecond;
      const early = due - performance.now();
      if (early > 0) await wait(systemClock, early, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      calls.push(one(asked, due));
    }
    failures.push(`${told(performance.now())}: the load ended by itself`);
  }

  const running = run();
  async function stop(): Promise<LoadResult> {
    stopping.abort();
    await running;
    const seconds = (performance.now() - began) / 1000;
    await Promise.all(calls);
    return { asked, held, failures, seconds, latencyMs: quantiles(latencies) };
  }
  scope.after(async () => {
    await stop();
    await client.close();
  });
  return { stop };
}

/** All that was asked came back held. */
export function assertAllHeld(result: LoadResult): void {
  assert.deepEqual(result.failures, []);
  assert.equal(result.held, result.asked);
}

export function summary(result: LoadResult): string {
  const { asked, held, failures, seconds, latencyMs } = result;
  const { p50, p99, max } = latencyMs;
  const times = `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, max ${max.toFixed(0)} ms`;
  const line = `${asked} admissions in ${seconds.toFixed(0)} s, ${asked - held} failed; ${times}`;
  return [line, ...failures].join('\n  ');
}

/** A moment of `performance.now`, as logs have it. */
function told(moment: number): string {
  return new Date(performance.timeOrigin + moment).toISOString();
}

function quantiles(values: readonly number[]): LoadResult['latencyMs'] {
  return { p50: percentile(values, 0.5), p99: percentile(values, 0.99), max: percentile(values, 1) };
}

function lackOf(answer: unknown, image: string): string | undefined {
  const containers = asArray(at(answer, 'spec', 'template', 'spec', 'containers'));
  if (!containers.some((container) => at(container, 'image') === image)) return 'another image came back';
  const hold = asString(at(answer, 'metadata', 'annotations', HOLD_ANNOTATION));
  if (hold === undefined) return 'it came back without a hold';
  if (at(answer, 'spec', 'paused') !== true) return `it came back with a hold, but not paused: ${hold}`;
  return undefined;
}
