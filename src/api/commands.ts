import { asArray, asObject, asString, at } from '../json.ts';
import type { Hold } from './hold.ts';
import { APPROVED_ANNOTATION, BYPASS_ANNOTATION, REVERT_ANNOTATION } from './names.ts';
import { templateHash } from './template/template-hash.ts';
import { templateImages } from './template/template-images.ts';

/** Commands for users to paste into a shell. Names of Kubernetes objects need no quotes there. */
interface Named {
  readonly namespace: string;
  readonly name: string;
}

const SHELL_SAFE = /^[A-Za-z0-9_./:@=+-]+$/;

/** Shows all that is known of a preload. */
export function describePreload({ namespace, name }: Named): string {
  return `kubectl -n ${namespace} describe ipl ${name}`;
}

/** Starts the rollout of a Deployment that its user paused. */
export function resume({ namespace, name }: Named): string {
  return `kubectl -n ${namespace} rollout resume deployment/${name}`;
}

/**
 * Returns the command that ends the hold without waiting. The annotation takes effect only when its value changes, so the shell
 * inserts the date each time, unless `moment` is given.
 */
export function letThrough({ namespace, name }: Named, moment?: string): string {
  const reason = moment === undefined ? '"urgent $(date)"' : `'urgent ${moment}'`;
  return `kubectl -n ${namespace} annotate deployment ${name} ${BYPASS_ANNOTATION}=${reason} --overwrite`;
}

/** Approves the rollout of the held pod template. */
export function approve({ namespace, name, templateDigest }: Named & { templateDigest: string }): string {
  return `kubectl -n ${namespace} annotate deployment ${name} ${APPROVED_ANNOTATION}=${templateDigest} --overwrite`;
}

/**
 * Returns how to end the hold by going back to the running template: a command of at most `room` characters, or else what to do
 * instead; undefined if this is the running template. `kubectl set image` is offered only if it restores the whole template.
 * `moment` as for `letThrough`.
 */
export function goBack(
  named: Named,
  hold: Hold,
  template: unknown,
  room: number,
  moment?: string,
): string | undefined {
  if (templateHash(template) === hold.from.template) return undefined;
  const commands = [setImages(named, hold, template), revert(named, moment)];
  const command = commands.find((one) => one !== undefined && one.length <= room);
  return command ?? 'apply the previous manifest again (kubectl rollout undo refuses while paused)';
}

function revert({ namespace, name }: Named, moment: string | undefined): string {
  const reason = moment === undefined ? '"$(date)"' : `'${moment}'`;
  return `kubectl -n ${namespace} annotate deployment ${name} ${REVERT_ANNOTATION}=${reason} --overwrite`;
}

/** Returns undefined if other fields than images of containers differ. */
function setImages({ namespace, name }: Named, { from }: Hold, template: unknown): string | undefined {
  const changed = templateImages(template).filter(({ place, image }) => from.images[place] !== image);
  const pairs = changed.flatMap(({ place }) => {
    const image = from.images[place];
    return image === undefined || place.startsWith('volume/') ? [] : [`${place}=${image}`];
  });
  // The API server takes any text for an image. Nobody should paste what a stranger wrote into a shell.
  if (pairs.length === 0 || !pairs.every((pair) => SHELL_SAFE.test(pair))) return undefined;
  if (templateHash(withImages(template, from.images)) !== from.template) return undefined;
  return `kubectl -n ${namespace} set image deployment/${name} ${pairs.join(' ')}`;
}

/** What `kubectl set image` makes of a template: containers and init containers with these images, by name. */
function withImages(template: unknown, images: Readonly<Record<string, string>>): unknown {
  const spec = asObject(at(template, 'spec'));
  const replaced = (list: unknown) =>
    asArray(list).map((container) => {
      const image = images[asString(at(container, 'name')) ?? ''];
      return image === undefined ? container : { ...asObject(container), image };
    });
  return {
    ...asObject(template),
    spec: {
      ...spec,
      containers: replaced(spec['containers']),
      initContainers: replaced(spec['initContainers']),
    },
  };
}
