import { GROUP, REVISION_ANNOTATION } from '../names.ts';
import { neededTemplate } from '../template/needed-template.ts';
import { type Deployment, isMarked, parseDeployment } from './deployment.ts';

/**
 * What is remembered of each Deployment of a cluster: of those without a hold a tenth or so, as there may be tens of thousands.
 * With a hold all is needed: its release tests the annotations, and the way back needs the template.
 */
export function parseCachedDeployment(raw: unknown): Deployment {
  const parsed = parseDeployment(raw);
  // A plain value: it can be compared, and keeps nothing else in memory.
  const deployment = { ...parsed, templateHash: parsed.templateHash };
  if (isMarked(deployment)) return deployment;
  const { annotations, template } = deployment;
  return { ...deployment, annotations: ours(annotations), template: neededTemplate(template) };
}

function ours(annotations: Deployment['annotations']): Deployment['annotations'] {
  const isOurs = (name: string) => name.startsWith(`${GROUP}/`) || name === REVISION_ANNOTATION;
  return Object.fromEntries(Object.entries(annotations).filter(([name]) => isOurs(name)));
}
