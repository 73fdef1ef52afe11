import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { asArray, asString, at } from '../../src/json.ts';
import type { Lab } from '../cluster/lab/lab.ts';
import { until } from '../cluster/lab/until.ts';
import { kubeletPulls } from './kubelet-pulls.ts';
import type { Observer } from './observe.ts';
import type { Terminal } from './progress.ts';
import type { DeploymentUpgrade, MissingTag, Upgrade } from './results.ts';
import type { Answer, Shell } from './shell.ts';
import { GATED, UNGATED } from './workloads.ts';

export interface Stage {
  readonly lab: Lab;
  readonly client: ApiClient;
  readonly observer: Observer;
  readonly terminal: Terminal;
  readonly shell: Shell;
}

/** The status of a preload is written once a second. */
const FIRST_LOOK_MS = 2000;
const ROLLOUT_TIMEOUT = '--timeout=240s';
/** In (c): long enough to tell a command that fails from one that gives up. */
const MISSING_TIMEOUT_SECONDS = 20;

/** (a) and (b): both Deployments of the namespace to the image, and all that there is to know about it. */
export async function upgrade(stage: Stage, namespace: string, image: string): Promise<Upgrade> {
  const { observer, terminal, shell } = stage;
  const from = observer.now();
  await must(shell(`kubectl -n ${namespace} set image deployment/critical app=${image}`));
  await must(shell(`kubectl -n ${namespace} set image deployment/web app=${image}`));
  if (namespace === GATED) {
    await delay(FIRST_LOOK_MS);
    await shell(`kubectl -n ${namespace} get deploy,ipl`);
  }
  const waiting = Promise.all(
    ['critical', 'web'].map((name) =>
      must(shell(`kubectl -n ${namespace} rollout status deployment/${name} ${ROLLOUT_TIMEOUT}`)),
    ),
  );
  await terminal.follow(waiting, () => describeUpgrade(stage, namespace, image));
  const measure = (name: string) => measureUpgrade(observer, namespace, name, image, from);
  const [critical, web] = await Promise.all([measure('critical'), measure('web')]);
  const events = await stage.client.get(`/api/v1/namespaces/${namespace}/events`, {
    fieldSelector: 'reason=Pulled',
  });
  return { critical, web, pulls: kubeletPulls(events, image) };
}

async function measureUpgrade(
  { timeline, now }: Observer,
  namespace: string,
  name: string,
  image: string,
  from: number,
): Promise<DeploymentUpgrade> {
  // kubectl and this process watch side by side: one of them is first.
  await until(`the rollout of ${name} is seen as complete`, 15, () => {
    return timeline.rollout(namespace, name, image)?.completeAt !== undefined || 'not yet';
  });
  const rollout = timeline.rollout(namespace, name, image);
  const { askedAt = 0, wasHeld = false, releasedAt = 0, completeAt = 0 } = rollout ?? {};
  return {
    withoutReadyPod: timeline.secondsWithoutReadyPod(namespace, name, from, now()),
    ...(wasHeld && { held: releasedAt - askedAt }),
    rollout: completeAt - (wasHeld ? releasedAt : askedAt),
    starts: timeline.starts(namespace, name, image),
  };
}

async function describeUpgrade(stage: Stage, namespace: string, image: string): Promise<string> {
  const { lab, observer } = stage;
  const names = lab.nodes();
  const stores = await Promise.all(names.map((node) => lab.nodeImages(node)));
  const have = stores.filter((images) => images.includes(image)).length;
  const rollout = observer.timeline.rollout(namespace, 'critical', image);
  const held = rollout?.wasHeld === true && rollout.releasedAt === undefined;
  return [
    `image on ${have} of ${names.length} nodes`,
    ...(held ? ['held'] : []),
    readyWords(observer, namespace, 'critical'),
    readyWords(observer, namespace, 'web'),
  ].join(' | ');
}

function readyWords({ timeline, now }: Observer, namespace: string, name: string): string {
  const since = timeline.downSince(namespace, name);
  if (since !== undefined) return `${name}: NO READY POD for ${(now() - since).toFixed(0)} s`;
  return `${name}: ${timeline.readyPods(namespace, name)} ready`;
}

/** (c): the single replicas to a tag that does not exist, for a while, and back. */
export async function missingTag(
  stage: Stage,
  image: string,
  running: { readonly ungated: string; readonly gated: string },
): Promise<{ ungated: MissingTag; gated: MissingTag }> {
  const { observer, terminal, shell, client } = stage;
  const { timeline, now } = observer;
  const from = now();
  const setImage = (namespace: string, to: string) =>
    must(shell(`kubectl -n ${namespace} set image deployment/critical app=${to}`));
  const setGated = await setImage(GATED, image);
  await setImage(UNGATED, image);

  const status = async (namespace: string) => {
    const answer = await shell(
      `kubectl -n ${namespace} rollout status deployment/critical --timeout=${MISSING_TIMEOUT_SECONDS}s`,
    );
    const lastLine = `${answer.stdout}${answer.stderr}`.trimEnd().split('\n').at(-1) ?? '';
    return { exitCode: answer.exitCode, seconds: now() - from, lastLine };
  };
  const waiting = Promise.all([status(GATED), status(UNGATED)]);
  const [gatedStatus, ungatedStatus] = await terminal.follow(waiting, async () =>
    [UNGATED, GATED]
      .map((namespace) => `${namespace}: ${readyWords(observer, namespace, 'critical')}`)
      .join(' | '),
  );
  terminal.print();
  await shell(`kubectl -n ${UNGATED} get deploy,pods`);
  await shell(`kubectl -n ${GATED} get deploy,ipl`);
  await shell(
    `kubectl -n ${GATED} get events --field-selector involvedObject.kind=Deployment,involvedObject.name=critical --sort-by=.metadata.creationTimestamp`,
  );
  const events = await client.get(`/api/v1/namespaces/${GATED}/events`, {
    fieldSelector: 'involvedObject.kind=Deployment,involvedObject.name=critical',
  });
  const registryMessage = asArray(at(events, 'items'))
    .map((event) => asString(at(event, 'message')) ?? '')
    .find((message) => message.includes(image) && /: not found\b/.test(message));
  const ready = {
    ungated: timeline.readyPods(UNGATED, 'critical'),
    gated: timeline.readyPods(GATED, 'critical'),
  };

  terminal.print();
  terminal.print('Set back, the gated one with the command from its warning:');
  await must(shell(goBackCommand(setGated)));
  const backAt = now();
  await setImage(UNGATED, running.ungated);
  await must(shell(`kubectl -n ${GATED} rollout status deployment/critical ${ROLLOUT_TIMEOUT}`));
  terminal.print(
    'The ungated one comes back by itself: first its kubelet clears away the pod that never started,',
  );
  terminal.print('which can take an old one more than a minute. That is not counted here.');
  const without = (namespace: string, to: number) =>
    timeline.secondsWithoutReadyPod(namespace, 'critical', from, to);
  return {
    ungated: {
      withoutReadyPod: without(UNGATED, backAt),
      readyPods: ready.ungated,
      rolloutStatus: ungatedStatus,
    },
    gated: {
      withoutReadyPod: without(GATED, now()),
      readyPods: ready.gated,
      rolloutStatus: gatedStatus,
      ...(registryMessage !== undefined && { registryMessage }),
    },
  };
}

function goBackCommand({ stderr }: Answer): string {
  const command = /Go back: (kubectl .*)$/m.exec(stderr)?.[1];
  if (command === undefined) throw new Error('the warning of the gated update holds no command to go back');
  return command;
}

async function must(answering: Promise<Answer>): Promise<Answer> {
  const answer = await answering;
  if (answer.exitCode === 0) return answer;
  throw new Error('a kubectl command failed that should have succeeded: see above');
}
