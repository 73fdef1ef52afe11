import { type ScaleCluster, type ScaleOptions, startScaleCluster } from '../../scale/cluster.ts';
import type { Progress } from '../bench.ts';
import { compileGate } from './compiled-gate.ts';
import { type ApiCalls, type MeasuredGate, startMeasuredGate } from './measured-gate.ts';
import { startWatched, type Watched } from './watched.ts';

/** A cluster, the gate, and who looks at it. */
export interface Stage {
  readonly cluster: ScaleCluster;
  readonly gate: MeasuredGate;
  readonly watched: Watched;
  readonly progress: Progress;
  /** In the place of the one there is, which is killed. */
  replaceGate(): Promise<MeasuredGate>;
}

export async function onStage<T>(
  options: Pick<ScaleOptions, 'nodes' | 'labelsOf' | 'images'> & {
    readonly pullSeconds: number;
    readonly flags: readonly string[];
    readonly progress: Progress;
  },
  play: (stage: Stage) => Promise<T>,
): Promise<T> {
  const { progress, pullSeconds, flags } = options;
  const cluster = await startScaleCluster({ ...options, log: progress });
  const ends: (() => Promise<unknown>)[] = [() => cluster.stop()];
  try {
    cluster.kubelets.registry = () => ({ seconds: pullSeconds });
    const program = [await compileGate(cluster.folder)];
    let gate = await startMeasuredGate(cluster, flags, program);
    ends.push(() => gate.kill());
    const watched = await startWatched(cluster.kubeconfig);
    ends.push(() => watched.stop());
    const replaceGate = async () => {
      await gate.kill();
      gate = await startMeasuredGate(cluster, flags, program);
      return gate;
    };
    return await play({ cluster, gate, watched, progress, replaceGate });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** What the gate has used between two moments. */
export interface Used {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly calls: ApiCalls;
  readonly pulls: number;
}

/** From now until it is asked. */
export async function meter({
  gate,
  watched,
}: Pick<Stage, 'gate' | 'watched'>): Promise<() => Promise<Used>> {
  const calls = await gate.calls();
  watched.forget();
  gate.forgetPeak();
  const began = performance.now();
  const cpu = gate.cpuSeconds();
  return async () => {
    const seconds = (performance.now() - began) / 1000;
    const cpuSeconds = gate.cpuSeconds() - cpu;
    const pulls = watched.count('pulled') + watched.count('failed');
    const { total, writes } = await gate.calls();
    return {
      seconds,
      cpuSeconds,
      pulls,
      calls: { total: total - calls.total, writes: writes - calls.writes },
    };
  };
}
