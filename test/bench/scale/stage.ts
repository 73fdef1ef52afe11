import { join } from 'node:path';
import { type ScaleCluster, type ScaleOptions, startScaleCluster } from '../../cluster/simulated/cluster.ts';
import { freePort } from '../../support/free-port.ts';
import type { Progress } from '../bench.ts';
import { withEnds } from '../ends.ts';
import { cpuSeconds } from '../process-stat.ts';
import { compileGate } from './compiled-gate.ts';
import { install } from './installed.ts';
import { type ApiCalls, type Replica, startReplica } from './replica.ts';
import { startWatched, type Watched } from './watched.ts';

/** A cluster, the gate, and who looks at it. */
export interface Stage {
  readonly cluster: ScaleCluster;
  readonly gate: Replica;
  readonly watched: Watched;
  readonly progress: Progress;
  /** One more. */
  addReplica(): Promise<Replica>;
}

export async function onStage<T>(
  options: Pick<ScaleOptions, 'nodes' | 'hollowNodes' | 'labelsOf' | 'images'> & {
    readonly pullSeconds: number;
    readonly flags: readonly string[];
    readonly progress: Progress;
  },
  play: (stage: Stage) => Promise<T>,
): Promise<T> {
  const { progress, pullSeconds, flags } = options;
  return await withEnds(async (after) => {
    const cluster = await startScaleCluster({ ...options, log: progress });
    after(() => cluster.stop());
    cluster.kubelets.answers = () => ({ seconds: pullSeconds });
    const program = await compileGate(cluster.folder);
    const port = await freePort();
    const account = await install(cluster, port);
    const apiPort = Number(new URL(cluster.server).port);
    const common = { apiPort, account, flags, program, log: join(cluster.folder, 'gate.log') };
    const start = async (at: number) => {
      const replica = await startReplica({ ...common, port: at });
      after(() => replica.kill());
      return replica;
    };
    const gate = await start(port);
    await gate.leads();
    const watched = await startWatched(cluster.kubeconfig);
    after(() => watched.stop());
    const addReplica = async () => await start(await freePort());
    return await play({ cluster, gate, watched, progress, addReplica });
  });
}

/** What the gate has used between two moments. */
export interface Used {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Of the API server, for all of them: of the gate, the kubelets, the controllers. */
  readonly apiServerCpuSeconds: number;
  readonly calls: ApiCalls;
  readonly pulls: number;
}

/** From now until it is asked. */
export async function meter({
  cluster,
  gate,
  watched,
}: Pick<Stage, 'cluster' | 'gate' | 'watched'>): Promise<() => Promise<Used>> {
  const apiServer = cluster.processes.find(({ name }) => name === 'kube-apiserver');
  const ofApiServer = () => cpuSeconds(apiServer?.pid ?? 0);
  const serverCpu = ofApiServer();
  const calls = await gate.calls();
  watched.forget();
  gate.forgetPeak();
  const began = performance.now();
  const cpu = gate.cpuSeconds();
  return async () => {
    const seconds = (performance.now() - began) / 1000;
    const used = gate.cpuSeconds() - cpu;
    const pulls = watched.count('pulled') + watched.count('failed');
    const { total, writes } = await gate.calls();
    return {
      seconds,
      cpuSeconds: used,
      apiServerCpuSeconds: ofApiServer() - serverCpu,
      pulls,
      calls: { total: total - calls.total, writes: writes - calls.writes },
    };
  };
}
