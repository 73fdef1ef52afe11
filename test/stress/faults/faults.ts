import assert from 'node:assert/strict';
import { CERTIFICATES_SECRET, GATE_NAMESPACE, RENEW_ANNOTATION } from '../../../src/api/names.ts';
import { systemClock, wait } from '../../../src/clock.ts';
import { asString, at } from '../../../src/json.ts';
import { up } from '../../cluster/lab/lab.ts';
import { mainProcess, signal } from '../../cluster/lab/process-table.ts';
import { until } from '../../support/e2e/until.ts';
import type { Lane } from './lane.ts';
import { fillDisk } from './small-disk.ts';
import type { Stage } from './stage.ts';

/** From when the time to recover counts: the end of an outage, the kill, or the end of the last pull, after which only Pullgate has to act. */
export type CountedFrom = 'the kill' | 'its end' | 'the cut' | 'the last pull';

export interface Fault {
  readonly name: string;
  /** What is done, as the table tells it. */
  readonly what: string;
  readonly from: CountedFrom;
  /** Of the image that is pulled meanwhile, at 10 MB/s. */
  readonly megabytes: number;
  /** What has to be there before the holds are opened. */
  prepare?(stage: Stage): Promise<unknown>;
  /**
   * Begins and ends it, with holds open in the lane.
   * @param seconds how long it lasts, if it has a length
   * @returns when it was over, for a kill or a cut when it was done
   */
  inflict(stage: Stage, lane: Lane, seconds: number): Promise<number>;
}

const NEVER = new AbortController().signal;
const BACK_SECONDS = 60;
/** Pulled in 3 s: longer than it takes to break something. */
const LIGHT = 30;
/** For what takes a second or two to begin. */
const HEAVY = 60;

export const FAULTS: readonly Fault[] = [
  {
    name: 'leader',
    what: 'the leader killed (SIGKILL)',
    from: 'the kill',
    megabytes: LIGHT,
    prepare: ({ replicas }) => replicas.replaceWorn(),
    inflict: async ({ replicas }) => await replicas.kill9([await replicas.leader()]),
  },
  {
    name: 'replicas',
    what: 'both replicas killed (SIGKILL)',
    from: 'the kill',
    megabytes: LIGHT,
    prepare: ({ replicas }) => replicas.replaceWorn(),
    inflict: async ({ replicas }) => await replicas.kill9(await replicas.names()),
  },
  {
    name: 'api-server',
    what: 'the API server killed (SIGKILL), away for a time, and back',
    from: 'its end',
    megabytes: LIGHT,
    async inflict({ api }, _, seconds) {
      signal(pidOf('hub/kube-apiserver'), 'SIGKILL');
      await last(seconds);
      const healed = up();
      // A node that was silent for long is Ready later: that is no part of the outage.
      const answers = () => api.get('/api/v1/nodes', {}, { retry: false, deadlineMs: 2000 });
      await until('it answers', BACK_SECONDS, answers, () => true);
      const ended = Date.now();
      await healed;
      return ended;
    },
  },
  {
    name: 'etcd',
    what: 'etcd stopped (SIGSTOP) and continued',
    from: 'its end',
    megabytes: LIGHT,
    async inflict(_, __, seconds) {
      const pid = pidOf('hub/etcd');
      signal(pid, 'SIGSTOP');
      try {
        await last(seconds);
      } finally {
        signal(pid, 'SIGCONT');
      }
      return Date.now();
    },
  },
  {
    name: 'registry',
    what: 'the registry cut off in the middle of a pull, and back',
    from: 'its end',
    megabytes: LIGHT,
    async inflict({ lab }, lane, seconds) {
      await lab.stopRegistry('slow');
      try {
        await last(seconds);
        await failsWith(lane, /ConnectionRefused/);
      } finally {
        await lab.startRegistry('slow');
      }
      return Date.now();
    },
  },
  {
    name: 'certificates',
    what: 'the serving certificate renewed',
    from: 'its end',
    megabytes: LIGHT,
    async inflict({ api }) {
      const path = `/api/v1/namespaces/${GATE_NAMESPACE}/secrets/${CERTIFICATES_SECRET}`;
      const served = async () => asString(at(await api.get(path), 'data', 'tls.crt'));
      const before = await served();
      await api.mergePatch(path, { metadata: { annotations: { [RENEW_ANNOTATION]: 'serving' } } });
      await until('it is another one', 30, served, (now) => now !== undefined && now !== before);
      return Date.now();
    },
  },
  {
    name: 'disk',
    what: 'the disk of a node full, and room made',
    from: 'its end',
    megabytes: HEAVY,
    prepare: (stage) => stage.spareNode(),
    async inflict(stage, lane, seconds) {
      const makeRoom = await fillDisk(stage.lab, await stage.spareNode());
      try {
        await failsWith(lane, /no space left on device/);
        await last(seconds);
      } finally {
        await makeRoom();
      }
      return Date.now();
    },
  },
  {
    name: 'nodes',
    what: 'a node cut off in the middle of a pull and back, another one deleted',
    from: 'the cut',
    megabytes: LIGHT,
    prepare: (stage) => stage.spareNode(),
    async inflict(stage, _, seconds) {
      const { lab } = stage;
      const spare = await stage.spareNode();
      const cut = lab.nodes().findLast((node) => node !== spare);
      assert.ok(cut !== undefined, 'a second node');
      await lab.cutOff(cut);
      const began = Date.now();
      try {
        await stage.removeSpareNode();
        await last(seconds - (Date.now() - began) / 1000);
      } finally {
        await lab.reconnect(cut);
      }
      return began;
    },
  },
  {
    name: 'upgrade',
    what: 'Pullgate upgraded to another image and environment',
    from: 'the last pull',
    megabytes: LIGHT,
    async inflict(stage) {
      await stage.upgrade();
      return Date.now();
    },
  },
  {
    name: 'watches',
    what: "Pullgate's watch connections cut every second",
    from: 'the last pull',
    megabytes: LIGHT,
    prepare: (stage) => stage.throughProxy(),
    async inflict({ proxy }, lane, seconds) {
      const before = proxy.counts.cut;
      const end = proxy.cutWatches();
      await duringRelease(lane, seconds).finally(end);
      assert.ok(proxy.counts.cut > before, 'watches were cut');
      return Date.now();
    },
  },
  {
    name: 'api-errors',
    what: "every third of Pullgate's calls answered by 429 or 500",
    from: 'the last pull',
    megabytes: LIGHT,
    prepare: (stage) => stage.throughProxy(),
    async inflict({ proxy }, lane, seconds) {
      const before = proxy.counts.failed;
      const end = proxy.failThirds();
      await duringRelease(lane, seconds).finally(end);
      assert.ok(proxy.counts.failed > before + 1, 'calls were answered by both');
      return Date.now();
    },
  },
];

function pidOf(component: string): number {
  const pid = mainProcess(component)?.pid;
  assert.ok(pid !== undefined, `${component} runs`);
  return pid;
}

async function last(seconds: number): Promise<void> {
  await wait(systemClock, Math.max(0, seconds) * 1000, NEVER);
}

/** At least so long, and as long as it takes for the gate to go on nevertheless. */
async function duringRelease(lane: Lane, seconds: number): Promise<void> {
  await last(seconds);
  await until('web is released meanwhile', BACK_SECONDS, lane.held, (names) => !names.includes('web'));
}

async function failsWith(lane: Lane, words: RegExp): Promise<void> {
  await until(
    `${words} is told of web`,
    BACK_SECONDS,
    () => lane.failuresOf('web'),
    (failures) => failures.some((failure) => words.test(failure)),
  );
}
