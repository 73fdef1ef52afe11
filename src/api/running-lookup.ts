import type { JsonObject } from '../json.ts';

/**
 * The pod template that a held Deployment runs, as its ReplicaSet has it.
 * - `found`: the template, as the Deployment had it.
 * - `gone`: no ReplicaSet of the Deployment has this template.
 * - `notAllowed`: Pullgate may not list ReplicaSets there.
 * - `unanswered`: the API server did not answer in time, so nothing is known.
 */
export type RunningLookup =
  | { readonly kind: 'found'; readonly template: JsonObject }
  | { readonly kind: 'gone' | 'notAllowed' | 'unanswered' };
