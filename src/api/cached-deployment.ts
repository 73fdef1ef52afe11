import type { JsonObject } from '../json.ts';
import { elide } from '../text.ts';
import { DECIDED_CHARACTERS } from './decision-record.ts';
import { type Deployment, isMarked, parseDeployment } from './deployment.ts';
import { HOLD_CHARACTERS } from './hold.ts';
import {
  DECIDED_ANNOTATION,
  HOLD_ANNOTATION,
  LEADER_ANNOTATIONS,
  NODE_SELECTOR_ANNOTATION,
} from './names.ts';
import { isFailedByGate } from './rollout.ts';
import { SETTING_LIMIT } from './settings.ts';
import { refusedTemplate, TEMPLATE_BYTES, trimTemplate } from './template/trimmed-template.ts';
import { weighsMoreThan } from './template/weight.ts';

/**
 * Returns what Pullgate remembers of each Deployment: about a tenth of it, because a cluster may have tens of thousands. If the
 * Deployment has a hold, the whole template is kept unless it is too large, because messages say how to go back.
 */
export function parseCachedDeployment(raw: unknown): Deployment {
  const parsed = parseDeployment(raw);
  const { annotations, templateHash } = parsed;
  const needed = trimTemplate(parsed.template);
  const refused = refusedHold(annotations) ?? refusedTemplate(needed);
  return {
    ...parsed,
    // A plain value: it can be compared, and keeps nothing else in memory.
    templateHash,
    templateDigest: isMarked(parsed) ? parsed.templateDigest : '',
    annotations: read(annotations),
    template: refused === undefined ? templateToKeep(parsed, needed) : {},
    ...(refused !== undefined && { refused }),
  };
}

function templateToKeep(deployment: Deployment, needed: JsonObject): JsonObject {
  const { template } = deployment;
  return isMarked(deployment) && !weighsMoreThan(TEMPLATE_BYTES, template) ? template : needed;
}

/** Admission makes no such hold: an earlier version did, or somebody wrote it by hand. */
function refusedHold(annotations: Deployment['annotations']): string | undefined {
  const length = annotations[HOLD_ANNOTATION]?.length ?? 0;
  return length > HOLD_CHARACTERS
    ? `its annotation ${HOLD_ANNOTATION} has ${length} characters, more than ${HOLD_CHARACTERS}`
    : undefined;
}

/** A value that is cut stays longer than any valid one of its annotation, so that nothing is read out of the part that is kept. */
function read(annotations: Deployment['annotations']): Deployment['annotations'] {
  return Object.fromEntries(
    LEADER_ANNOTATIONS.flatMap((name) => {
      const value = annotations[name];
      return value === undefined ? [] : [[name, elide(value, LONGEST.get(name) ?? WORD_CHARACTERS)]];
    }),
  );
}

const LONGEST: ReadonlyMap<string, number> = new Map([
  [HOLD_ANNOTATION, HOLD_CHARACTERS + 1],
  [DECIDED_ANNOTATION, DECIDED_CHARACTERS + 1],
  [NODE_SELECTOR_ANNOTATION, SETTING_LIMIT + 1],
]);
/** Of all others: numbers, percentages, `true`. An Event shows 63 characters of one that is wrong. */
const WORD_CHARACTERS = 256;

/**
 * Returns what is remembered of a Deployment in a namespace without a mode: all of it while the gate still has to remove something
 * that it wrote, and otherwise nothing. Such namespaces may have tens of thousands of Deployments.
 */
export function deploymentKeptElsewhere(deployment: Deployment): Deployment | undefined {
  return isMarked(deployment) || isFailedByGate(deployment) ? deployment : undefined;
}

/** Returns whether anything is remembered, without hashing the template, which may have a megabyte. */
export function isDeploymentKeptElsewhere(raw: unknown): boolean {
  return deploymentKeptElsewhere(parseDeployment(raw)) !== undefined;
}
