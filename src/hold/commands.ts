import { asArray, asObject, asString, at } from '../json.ts';
import { BYPASS_ANNOTATION } from '../names.ts';
import { templateHash } from '../template/template-hash.ts';
import { templateImages } from '../template/template-images.ts';
import type { Hold } from './hold.ts';
import { imagesToPull } from './needs-pull.ts';

/** What people are told to paste into a shell. Names of Kubernetes objects need no quotes there. */
interface Named {
  readonly namespace: string;
  readonly name: string;
}

const SHELL_SAFE = /^[A-Za-z0-9_./:@=+-]+$/;

/** Shows all that is known of a preload. */
export function describePreload({ namespace, name }: Named): string {
  return `kubectl -n ${namespace} describe ipl ${name}`;
}

/**
 * Ends the hold without waiting. A reason that is there already counts for nothing: the shell makes it another one each
 * time, unless the moment is given.
 */
export function letThrough({ namespace, name }: Named, moment?: string): string {
  const reason = moment === undefined ? '"urgent $(date)"' : `'urgent ${moment}'`;
  return `kubectl -n ${namespace} annotate deployment ${name} ${BYPASS_ANNOTATION}=${reason} --overwrite`;
}

/**
 * How to end the hold by going back to the images that run: a command of at most `room` characters, or else what to
 * do instead; `undefined` if these are the images that run.
 */
export function goBack(
  { namespace, name }: Named,
  hold: Hold,
  template: unknown,
  room: number,
): string | undefined {
  const running = hold.from.images;
  const changed = templateImages(template).filter(({ place, image }) => running[place] !== image);
  if (changed.length === 0) return undefined;

  const before = withImages(template, running);
  const pairs = changed.flatMap(({ place }) => {
    const image = running[place];
    return image === undefined || place.startsWith('volume/') ? [] : [`${place}=${image}`];
  });
  const command = `kubectl -n ${namespace} set image deployment/${name} ${pairs.join(' ')}`;
  // Image volumes, added containers or policy Always: the command alone would not end the hold. And the API server
  // takes any text for an image: nobody is to paste what a stranger wrote into a shell.
  const works = pairs.length > 0 && !needsPull(hold, before);
  if (works && command.length <= room && pairs.every((pair) => SHELL_SAFE.test(pair))) return command;
  return 'apply the previous manifest again (kubectl rollout undo refuses while paused)';
}

/** Hashed only under policy Always, where it matters: that costs as much as all other warnings together. */
function needsPull({ from }: Hold, template: unknown): boolean {
  const always = templateImages(template).some(({ imagePullPolicy }) => imagePullPolicy === 'Always');
  return imagesToPull(from, template, always ? templateHash(template) : from.template).length > 0;
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
