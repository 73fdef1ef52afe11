import { requiresApproval } from '../api/approval.ts';
import { approve, goBack, letThrough, resume } from '../api/commands.ts';
import { parseDeployment } from '../api/deployment.ts';
import { knownFailure } from '../api/rollout.ts';
import type { Floor } from '../api/settings.ts';
import { asStringMap, at } from '../json.ts';
import type { Decision } from './decision.ts';
import { settingWarnings } from './setting-warnings.ts';

/**
 * The API server passes warnings on as they are up to 4096 characters in all (k8s.io/apiserver, filters/warning.go);
 * beyond that it cuts each one to 256, and a command that is cut is worse than none.
 */
const TOTAL_LIMIT = 4096;
const LINE_LIMIT = 256;
/** An audit log has a size limit for each event, and other webhooks write into the same one. */
const AUDIT_VALUE_LIMIT = 512;

const GO_BACK = 'Go back: ';
const APPROVAL_REFUSED =
  'the approval was refused: it needs the verb approve on imagepreloads.pullgate.io, which this user does not have';
const BYPASS_REFUSED = 'the bypass was refused: this user may not bypass';

interface DeploymentName {
  readonly namespace: string;
  readonly name: string;
}

interface Update extends DeploymentName {
  /** What was stored before. */
  readonly oldObject?: unknown;
  /** How far the preload of a hold is, if this replica knows it without asking. */
  readonly progress?: { readonly ready: number; readonly desired: number } | undefined;
}

/**
 * Returns the warnings for the user, one line each: printable ASCII, at most 4096 characters in all. `now`, in milliseconds since
 * the epoch, makes the bypass in the command differ from every earlier one. A setting that is looser than `floor` gets a warning
 * that it is ignored.
 */
export function warningsFor(decision: Decision, update: Update, now: number, floor?: Floor): string[] {
  const lines = decisionWarnings(decision, update, now);
  for (const text of settingWarnings(decision, update.oldObject, floor)) {
    const next = line(text);
    // An Event says the same.
    if (totalOf(lines) + next.length <= TOTAL_LIMIT) lines.push(next);
  }
  return lines;
}

function decisionWarnings(decision: Decision, deployment: Update, now: number): string[] {
  const id = `${deployment.namespace}/${deployment.name}`;
  const ignored = ignoredWarnings(decision, id);
  switch (decision.kind) {
    case 'Held':
      return holdWarnings(decision, deployment, now, `the rollout of ${id} is held`, ignored);
    case 'Superseded':
      return holdWarnings(
        decision,
        deployment,
        now,
        `the rollout of ${id} stays held, now with another pod template,`,
        ignored,
      );
    case 'Reheld':
      if (!decision.resumeAsked && !decision.bypassRefused)
        return [
          ...approvalWarnings(decision, deployment),
          ...stillHeldWarnings(decision, deployment, now),
          ...ignored,
        ];
      return holdWarnings(
        decision,
        deployment,
        now,
        `${id} is still held${forSoLong(decision, now)}; it stays paused`,
        ignored,
        howFar(deployment),
      );
    case 'Reverted':
      return [line(`the hold of ${id} has ended: ${decision.reason}`), ...ignored];
    case 'Bypassed':
      return [
        line(
          `the rollout of ${id} starts before its nodes have the images, because of the bypass: ${decision.reason}`,
        ),
        ...endWarnings(decision, deployment),
      ];
    case 'LimitExceeded':
      return [
        line(
          `${id} continues without a preload: ${decision.reason}`,
          '; each node pulls when a pod starts there',
        ),
        ...ignored,
      ];
    case 'OptedOut':
      return [
        line(`${id} is opted out: ${decision.reason}`),
        ...endWarnings(decision, deployment),
        ...ignored,
      ];
    case 'Rejected':
      return decision.bypassRefused ? [line(BYPASS_REFUSED), ...ignored] : ignored;
    case 'Audited':
      return [
        line(`${id} would be held in mode pause until its nodes have ${decision.images.join(', ')}`),
        ...ignored,
      ];
    default:
      return ignored;
  }
}

function ignoredWarnings({ ignored }: Decision, id: string): string[] {
  if (ignored.length === 0) return [];
  const end = '; they came with rollout undo or a copied manifest. Set them again to use them';
  return [line(`annotations of an earlier version of ${id} were ignored: ${ignored.join(', ')}`, end)];
}

/** For the audit log of the API server, which puts the webhook's name before each key. */
export function auditAnnotationsFor(decision: Decision): Record<string, string> {
  const preload = decision.hold?.preload ?? decision.asks?.preload;
  return {
    decision: decision.kind,
    reason: decision.reason.slice(0, AUDIT_VALUE_LIMIT),
    ...(preload !== undefined && { preload }),
    ...(decision.images.length > 0 && { images: decision.images.join(',').slice(0, AUDIT_VALUE_LIMIT) }),
  };
}

function holdWarnings(
  decision: Decision,
  deployment: DeploymentName,
  now: number,
  what: string,
  ignored: readonly string[],
  far?: string,
): string[] {
  const { hold, images } = decision;
  if (hold === undefined) return [];
  const approval = approvalWarnings(decision, deployment);
  const watch = `; watch: kubectl -n ${deployment.namespace} get ipl ${hold.preload} -w`;
  const lines = [line(`${what} until its nodes have ${images.join(', ')}`, watch)];
  if (far !== undefined) lines.push(line(far));
  if (decision.bypassRefused) lines.push(line(BYPASS_REFUSED));
  lines.push(...approval, ...ignored);
  lines.push(`Release it now: ${letThrough(deployment, new Date(now).toISOString())}`);
  const room = TOTAL_LIMIT - totalOf(lines) - GO_BACK.length;
  const template = at(decision.object, 'spec', 'template');
  const back = goBack(deployment, hold, template, room, new Date(now).toISOString());
  return back === undefined ? lines : [...lines, GO_BACK + back];
}

/** Returns what became of an approval, or that one is needed where the Deployment itself says so. */
function approvalWarnings(
  { approval, hold, object }: Decision,
  { namespace, name }: DeploymentName,
): string[] {
  if (hold === undefined) return [];
  const isNeeded =
    hold.approved === undefined && requiresApproval(asStringMap(at(object, 'metadata', 'labels')));
  if (approval === undefined && !isNeeded) return [];
  const { templateDigest } = parseDeployment(object);
  const id = `${namespace}/${name}`;
  const command = `Approve it: ${approve({ namespace, name, templateDigest })}`;
  switch (approval) {
    case 'Approved':
      return [line(`approved: the rollout of ${id} starts when its nodes have the images`)];
    case 'NotAllowed':
      return [line(APPROVAL_REFUSED)];
    case 'OtherTemplate':
      return [
        line(`the approval of ${id} does not count: it names another pod template than the held one`),
        command,
      ];
    case 'NotNew':
      return [
        line(`the approval of ${id} does not count: it was set before. It is removed; set it again`),
        command,
      ];
    case 'StillApproved':
      return [
        line(
          `${id} stays approved by ${hold.approved?.by}. To stop the rollout, go back to the running version`,
        ),
      ];
    case undefined:
      return [line(`the rollout of ${id} also waits for an approval`), command];
  }
}

/** Returns how far the preload of a held version is, or why it fails, for a user who applies that version again. */
function stillHeldWarnings(decision: Decision, update: Update, now: number): string[] {
  const { hold, images } = decision;
  if (hold === undefined) return [];
  const far = howFar(update) ?? `its nodes do not have ${images.join(', ')} yet`;
  const see = `; see: kubectl -n ${update.namespace} get ipl ${hold.preload}`;
  return [line(`${update.namespace}/${update.name} is still held${forSoLong(decision, now)}: ${far}`, see)];
}

/** Nothing is looked up for this: a failure is in the condition of the stored Deployment, and the leader knows the count. */
function howFar({ oldObject, progress }: Update): string | undefined {
  const failure = oldObject === undefined ? undefined : knownFailure(parseDeployment(oldObject));
  if (failure !== undefined) return failure;
  return progress === undefined ? undefined : `${progress.ready} of ${progress.desired} nodes are ready`;
}

/** Returns warnings for a user who bypasses or opts out before the rollout has started. */
function endWarnings({ object }: Decision, update: Update): string[] {
  const failure =
    update.oldObject === undefined ? undefined : knownFailure(parseDeployment(update.oldObject));
  return [
    ...(failure === undefined ? [] : [line(`its image is known to be unavailable: ${failure}`)]),
    ...(at(object, 'spec', 'paused') === true
      ? [line('it stays paused, as requested', `; start the rollout: ${resume(update)}`)]
      : []),
  ];
}

function totalOf(lines: readonly string[]): number {
  return lines.reduce((sum, { length }) => sum + length, 0);
}

function forSoLong({ hold }: Decision, now: number): string {
  return hold === undefined
    ? ''
    : ` (${Math.max(0, Math.round((now - Date.parse(hold.since)) / 1000))} s so far)`;
}

/** The end is never cut, the beginning is where it would be too long. */
function line(text: string, end = ''): string {
  const ascii = `pullgate: ${text}`.replace(/[^\x20-\x7e]+/g, '?');
  const room = LINE_LIMIT - end.length;
  return (ascii.length > room ? `${ascii.slice(0, room - 3)}...` : ascii) + end;
}
