import type { ApiClient } from '../../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../../src/json.ts';
import { run } from '../../cluster/lab/command.ts';
import { until } from '../../support/e2e/until.ts';
import type { Stage } from './stage.ts';

export interface GatePod {
  readonly name: string;
  readonly node: string;
  /** Of the container that runs now. */
  readonly containerId: string;
  readonly ready: boolean;
}

const READY_SECONDS = 60;
/** USER_HZ, see process-stat.ts. */
const TICKS_PER_SECOND = 100;

/** Those that run, and are to go on. */
export async function gatePods(api: ApiClient): Promise<GatePod[]> {
  const list = await api.get('/api/v1/namespaces/pullgate/pods', {
    labelSelector: 'app.kubernetes.io/component=gate',
  });
  return asArray(at(list, 'items')).flatMap((pod) => {
    const [status] = asArray(at(pod, 'status', 'containerStatuses'));
    if (at(status, 'state', 'running') === undefined) return [];
    if (at(pod, 'metadata', 'deletionTimestamp') !== undefined) return [];
    return [
      {
        name: asString(at(pod, 'metadata', 'name')) ?? '',
        node: asString(at(pod, 'spec', 'nodeName')) ?? '',
        containerId: (asString(at(status, 'containerID')) ?? '').replace('containerd://', ''),
        ready: at(status, 'ready') === true,
      },
    ];
  });
}

/** -9, without any chance to give the lease back. */
export async function killPod(stage: Stage, { node, containerId }: GatePod): Promise<void> {
  await stage.lab.ctr(node, 'tasks', 'kill', '--signal', 'SIGKILL', containerId);
}

/** From the start of its process, as the kernel has it, to the line that says so. */
export async function msToReady(stage: Stage, pod: GatePod): Promise<number> {
  const startedAt = await processStart(stage, pod);
  const line = await until(
    `${pod.name} is ready`,
    READY_SECONDS,
    () => readyLine(stage, pod),
    (found) => found !== undefined,
  );
  return Number(line?.time) - startedAt;
}

async function readyLine({ lab }: Stage, { name }: GatePod): Promise<{ time?: number } | undefined> {
  const { stdout } = await lab.kubectl(['-n', 'pullgate', 'logs', name]);
  return stdout
    .split('\n')
    .filter((text) => text.includes('"msg":"ready"'))
    .map((text) => JSON.parse(text) as { time?: number })
    .at(-1);
}

/** In ms since the epoch, to 10 ms. The status of the pod has whole seconds. */
async function processStart(stage: Stage, { node, containerId }: GatePod): Promise<number> {
  const tasks = await stage.lab.ctr(node, 'tasks', 'ls');
  const task = tasks.split('\n').find((text) => text.startsWith(containerId));
  const pid = task?.split(/\s+/)[1];
  if (pid === undefined) throw new Error(`no task of ${containerId} on ${node}`);
  const [stat = '', uptime = ''] = (
    await run(stage.lab.enterNode(node, ['cat', `/proc/${pid}/stat`, '/proc/uptime']))
  ).stdout.split('\n');
  const now = Date.now();
  // The 22nd field, counted from the end of the name on, which may hold spaces.
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  return now - (Number(uptime.split(' ')[0]) - ticks / TICKS_PER_SECOND) * 1000;
}
