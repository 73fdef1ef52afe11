import { readFileSync } from 'node:fs';
import { evaluate } from '@marcbachmann/cel-js';
import { parseAllDocuments } from 'yaml';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';

const FILE = new URL('../../deploy/components/pod-shape/admission-policy.yaml', import.meta.url);
const [policy, binding] = [...parseAllDocuments(readFileSync(FILE, 'utf8'))].map((one) =>
  asObject(one.toJS()),
);

const cel = (one: unknown) => asString(at(one, 'expression')) ?? '';

/** Whether it refuses at all: a policy without a binding does nothing. */
export function isBound(): boolean {
  return (
    at(binding, 'spec', 'policyName') === at(policy, 'metadata', 'name') &&
    asArray(at(binding, 'spec', 'validationActions')).includes('Deny') &&
    at(policy, 'spec', 'failurePolicy') === 'Fail'
  );
}

/** Whether the policy looks at what this user creates. */
export function isJudged(username: string): boolean {
  const request = { userInfo: { username } };
  return asArray(at(policy, 'spec', 'matchConditions')).every(
    (one) => evaluate(cel(one), { request }) === true,
  );
}

/** The messages of what the pod does not fulfil. An expression that cannot be evaluated refuses, as failurePolicy Fail has it. */
export function refusals(pod: JsonObject): string[] {
  const variables: Record<string, unknown> = {};
  for (const one of asArray(at(policy, 'spec', 'variables'))) {
    variables[asString(at(one, 'name')) ?? ''] = evaluated(cel(one), { object: pod, variables });
  }
  return asArray(at(policy, 'spec', 'validations'))
    .filter((one) => evaluated(cel(one), { object: pod, variables }) !== true)
    .map((one) => asString(at(one, 'message')) ?? '');
}

function evaluated(expression: string, context: Record<string, unknown>): unknown {
  try {
    return evaluate(expression, context);
  } catch {
    return undefined;
  }
}
