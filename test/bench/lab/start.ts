import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { LEASE, MODE_LABEL } from '../../../src/api/names.ts';
import { asString, at } from '../../../src/json.ts';
import { type GateProcess, spawnGate } from '../../support/e2e/gate-process.ts';
import { inClusterGate } from '../../support/e2e/in-cluster-gate.ts';
import { createNamespace } from '../../support/e2e/namespace.ts';
import { until } from '../../support/e2e/until.ts';
import { freePort } from '../../support/free-port.ts';
import { median, rounded } from '../../support/percentile.ts';
import type { Bench, Measured, Progress, Row } from '../bench.ts';
import { gatePods, killPod, msToReady } from './gate-pods.ts';
import { probes } from './probes.ts';
import { labVersions, onLab, type Stage } from './stage.ts';

export const start: Bench = {
  name: 'start',
  title:
    'From the start of the process to ready, and from the loss of the leader to the first action of the next one.',
  needs: 'lab',
  minutes: 3,
  needsGateImage: true,
  goals: { podReadySeconds: { is: '<=', limit: 2 } },
  run: (progress, short) => onLab((stage) => measureStart(stage, short ? SHORT : FULL, progress)),
};

interface StartPlan {
  /** Of `node -e 0` and the gate as a process, in turns. */
  readonly starts: number;
  /** Of each kind. 0: nothing is installed in the cluster. */
  readonly losses: number;
}

const FULL: StartPlan = { starts: 7, losses: 3 };
export const SHORT: StartPlan = { starts: 5, losses: 0 };
const READY_SECONDS = 60;

export async function measureStart(stage: Stage, plan: StartPlan, progress: Progress): Promise<Measured> {
  const floor: number[] = [];
  const gate: number[] = [];
  for (let round = 0; round < plan.starts; round += 1) {
    progress(`start ${round + 1} of ${plan.starts}`);
    floor.push(await nodeStart());
    gate.push(await gateStart(stage));
  }
  const [floorMs, gateMs] = [median(floor), median(gate)];
  const rows: Row[] = [
    rowOf('node -e 0, start to end', floor),
    rowOf('gate beside the cluster, start to ready (it registers itself)', gate),
  ];
  const ratios: Record<string, number> = { startOverNode: rounded(gateMs / floorMs) };
  if (plan.losses > 0) {
    const inCluster = await measureReplicas(stage, plan.losses, progress);
    rows.push(
      rowOf('gate in a pod, start of its process to ready', inCluster.ready),
      rowOf('leader killed (-9): longest wait of a new preload', inCluster.killed),
      rowOf('leader deleted in order: longest wait of a new preload', inCluster.ended),
    );
    ratios['podReadySeconds'] = rounded(Math.max(...inCluster.ready) / 1000);
    ratios['killedToActionSeconds'] = rounded(Math.max(...inCluster.killed) / 1000);
    ratios['endedToActionSeconds'] = rounded(Math.max(...inCluster.ended) / 1000);
  }
  return {
    versions: await labVersions(stage),
    rows,
    ratios,
    notes: [
      'Pullgate is ready when its webhook is registered and everything stored has been read. Beside the cluster, this includes creating its ServiceAccount, CRD and webhooks.',
      'The manifests install two replicas. The bench creates an ImagePreload four times a second, and measures the wait from its creation to its first status. The longest wait shows how long no leader acted. A Lease lasts 15 s, so the next leader waits that long after a kill.',
      'Ratios in seconds are the longest of all samples.',
    ],
  };
}

function rowOf(what: string, ms: readonly number[]): Row {
  return {
    what,
    medianMs: Math.round(median(ms)),
    shortestMs: Math.round(Math.min(...ms)),
    longestMs: Math.round(Math.max(...ms)),
    samples: ms.length,
  };
}

async function nodeStart(): Promise<number> {
  const began = performance.now();
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }), 'exit');
  return performance.now() - began;
}

async function gateStart({ lab }: Stage): Promise<number> {
  const listen = `127.0.0.1:${await freePort()}`;
  const began = Date.now();
  const gate: GateProcess = spawnGate(['--kubeconfig', lab.kubeconfig, '--listen', listen]);
  try {
    const { time } = await gate.logged('it is ready', READY_SECONDS, ({ msg }) => msg === 'ready');
    return Number(time) - began;
  } finally {
    await gate.stop();
  }
}

interface Replicas {
  readonly ready: number[];
  readonly killed: number[];
  readonly ended: number[];
}

async function measureReplicas(stage: Stage, losses: number, progress: Progress): Promise<Replicas> {
  const { lab, api } = stage;
  progress('installing two replicas');
  const installed = await inClusterGate(stage, lab);
  await installed.install();
  const namespace = await createNamespace(stage, lab, api, { [MODE_LABEL]: 'pause' });
  const result: Replicas = { ready: [], killed: [], ended: [] };
  const seen = new Set<string>();
  const starts = async () => {
    const pods = await until(
      'both replicas are ready',
      // One that was killed again and again is started again after a while only.
      120,
      () => gatePods(api),
      (all) => all.length === 2 && all.every(({ ready }) => ready),
    );
    for (const pod of pods) {
      if (seen.has(pod.containerId)) continue;
      seen.add(pod.containerId);
      result.ready.push(await msToReady(stage, pod));
    }
  };
  await starts();
  for (let loss = 0; loss < losses; loss += 1) {
    for (const kind of ['killed', 'ended'] as const) {
      progress(`leader ${kind}, ${loss + 1} of ${losses}`);
      const before = await until('somebody leads', 30, () => holderOf(stage), Boolean);
      const leader = (await gatePods(api)).find(({ name }) => before.startsWith(`${name}_`));
      if (leader === undefined) throw new Error(`no pod of ${before}`);
      const probing = probes(stage, namespace.name, `${kind}-${loss}`);
      await probing.answered(1);
      const lostAt = performance.now();
      if (kind === 'killed') await killPod(stage, leader);
      else await api.delete(`/api/v1/namespaces/pullgate/pods/${leader.name}`);
      await until(
        'another one leads',
        60,
        () => holderOf(stage),
        (holder) => holder !== '' && holder !== before,
      );
      result[kind].push(await probing.longestWait(lostAt));
      await starts();
    }
  }
  return result;
}

async function holderOf({ api }: Stage): Promise<string> {
  const lease = await api.get(`/apis/coordination.k8s.io/v1/namespaces/pullgate/leases/${LEASE}`);
  return asString(at(lease, 'spec', 'holderIdentity')) ?? '';
}
