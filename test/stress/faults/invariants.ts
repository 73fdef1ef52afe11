import { type Deployment, parseDeployment } from '../../../src/api/deployment.ts';
import { asArray, asString, at, type JsonObject } from '../../../src/json.ts';
import { isHeld } from '../../support/e2e/deployment.ts';
import { imagesOf } from '../../support/e2e/timeline.ts';
import type { History, OpenHold, Seen } from './history.ts';

/**
 * The gate may know of a node earlier or later than the test: each has a watch of its own, the gate gathers changes for a second, and
 * after an outage a watch comes back up to 10 s late (BACKOFF of src/cluster/reflector.ts).
 */
const NODE_SLACK_MS = 10_000;

export interface Release {
  readonly deployment: string;
  readonly at: number;
}

/** What was promised and not kept, in words. Pure, and of what is seen from outside alone. */
export function judge(history: History): string[] {
  return history.holds.flatMap((hold) => [...judgeHold(history, hold)]);
}

/** When the holds that were open ended, in order. */
export function releasesOf(history: History): Release[] {
  return history.holds
    .flatMap((hold) => {
      const moment = releaseOf(history, hold);
      return moment === undefined ? [] : [{ deployment: hold.deployment, at: moment.at }];
    })
    .toSorted((one, other) => one.at - other.at);
}

/** When the last of the nodes where it was needed had it; infinite: not all of them have it. */
export function completeAt(history: History, image: string, when: number): number {
  const times = eligibleDuring(history.seen, when, when)
    .flat()
    .map((node) => arrivedAt(history, node, image));
  return times.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...times);
}

interface Version {
  readonly heardAt: number;
  readonly stored: Deployment;
  readonly images: readonly string[];
}

function* judgeHold(history: History, hold: OpenHold): Generator<string> {
  const { deployment, image, userPaused } = hold;
  const versions = versionsOf(history, deployment);
  const last = versions.at(-1);
  if (last === undefined) {
    yield `${deployment} is gone`;
    return;
  }
  if (!last.images.includes(image))
    yield `${deployment}: its update is lost, the template has ${last.images}`;

  const release = releaseOf(history, hold);
  if (release !== undefined) yield* judgeRelease(history, hold, release);

  if (isHeld(last.stored)) {
    const { stored } = last;
    if (!stored.paused) yield `${deployment} has a hold, and is not paused`;
    if (Number.isFinite(completeAt(history, image, Number.POSITIVE_INFINITY)))
      yield `${deployment} is lost: held although ${image} is on every eligible node`;
    else if (!history.failing.includes(deployment))
      yield `${deployment} is lost: held, and nothing tells why`;
  } else if (last.stored.paused && !userPaused) {
    yield `${deployment} is paused for ever: not held, and no user asked for it`;
  } else if (!last.stored.paused && userPaused) {
    yield `${deployment}: its user's pause is lost`;
  }
}

function* judgeRelease(
  history: History,
  { deployment, image }: OpenHold,
  release: { readonly at: number; readonly heardAt: number },
): Generator<string> {
  const sets = eligibleDuring(
    history.seen,
    release.at - NODE_SLACK_MS,
    Math.max(release.at, release.heardAt) + NODE_SLACK_MS,
  );
  const lacking = sets.map((nodes) => nodes.filter((node) => arrivedAt(history, node, image) > release.at));
  if (sets.some((nodes, index) => nodes.length > 0 && lacking[index]?.length === 0)) return;
  // A hold never prolongs an outage: one node is enough while no pod is ready.
  const anyHas = sets.some((nodes, index) => nodes.length > (lacking[index]?.length ?? 0));
  if (anyHas && servedNothing(history, deployment, release)) return;
  const nodes = [...new Set(lacking.flat())].toSorted().join(', ');
  yield `${deployment} was released early: ${nodes || 'no node'} lacked ${image} at ${new Date(release.at).toISOString()}`;
}

/** Whether at the time of the release, or as short before or after as watches differ, pods were wanted and none was ready. */
function servedNothing(
  history: History,
  deployment: string,
  { at: releasedAt, heardAt }: { readonly at: number; readonly heardAt: number },
): boolean {
  const versions = versionsOf(history, deployment);
  const last = versions.findLastIndex((version) => version.heardAt <= releasedAt - NODE_SLACK_MS);
  return versions
    .slice(Math.max(0, last))
    .some(
      (version) =>
        version.heardAt <= heardAt &&
        version.stored.replicas > 0 &&
        version.stored.status.readyReplicas === 0,
    );
}

/** The first version with that image that is not held. */
function releaseOf(
  history: History,
  { deployment, image }: OpenHold,
): { readonly at: number; readonly heardAt: number } | undefined {
  const versions = versionsOf(history, deployment);
  const index = versions.findIndex(({ stored, images }) => images.includes(image) && !isHeld(stored));
  const version = versions[index];
  if (version === undefined) return undefined;
  const heldAt = versions.find(({ images }) => images.includes(image))?.heardAt ?? 0;
  // A watch that was cut tells of it late; the Event was dated when it was done.
  const told = history.releasesTold.find(
    (one) => one.deployment === deployment && one.at >= heldAt && one.at <= version.heardAt,
  );
  return { at: told?.at ?? version.heardAt, heardAt: version.heardAt };
}

function versionsOf({ seen }: History, deployment: string): Version[] {
  return seen.flatMap(({ kind, name, at: heardAt, object }) =>
    kind === 'Deployment' && name === deployment && object !== undefined
      ? [{ heardAt, stored: parseDeployment(object), images: imagesOf(object) }]
      : [],
  );
}

function arrivedAt({ arrivals }: History, node: string, image: string): number {
  return arrivals.find((one) => one.node === node && one.image === image)?.at ?? Number.POSITIVE_INFINITY;
}

/** Each set of eligible nodes that there was at some time of the span. */
function eligibleDuring(seen: readonly Seen[], from: number, to: number): string[][] {
  const nodes = new Map<string, JsonObject>();
  const sets: string[][] = [];
  const take = () => sets.push([...nodes].filter(([, node]) => isEligible(node)).map(([name]) => name));
  let taken = false;
  for (const { kind, at: when, name, object } of seen) {
    if (kind !== 'Node') continue;
    if (when > to) break;
    if (when >= from && !taken) take();
    taken ||= when >= from;
    if (object === undefined) nodes.delete(name);
    else nodes.set(name, object);
    if (taken) take();
  }
  if (!taken) take();
  return sets;
}

/** For pods that choose and tolerate nothing. */
function isEligible({ metadata, spec, status }: JsonObject): boolean {
  const ready = asArray(at(status, 'conditions')).find((condition) => at(condition, 'type') === 'Ready');
  const taints = asArray(at(spec, 'taints')).map((taint) => asString(at(taint, 'effect')));
  return (
    at(metadata, 'deletionTimestamp') === undefined &&
    at(spec, 'unschedulable') !== true &&
    at(ready, 'status') === 'True' &&
    taints.every((effect) => effect === 'PreferNoSchedule')
  );
}
