import { readFileSync } from 'node:fs';
import { evaluate } from '@marcbachmann/cel-js';
import { parseAllDocuments } from 'yaml';
import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../../src/json.ts';

/** What the expressions of a policy see of a request. */
export interface PolicyRequest {
  readonly request?: JsonObject;
  readonly object?: JsonObject;
  /** Null where something is created, as the API server has it. */
  readonly oldObject?: JsonObject | null;
}

export interface AdmissionPolicy {
  /** Whether it refuses at all: a policy without a binding does nothing. */
  isBound(): boolean;
  /** Whether the API server asks the policy about a pod with these labels: of an update both objects are looked at. */
  selects(...labels: readonly Readonly<Record<string, string>>[]): boolean;
  /** Whether the conditions under which the policy applies are met. */
  applies(request: PolicyRequest): boolean;
  /** The messages of what is not fulfilled. An expression that cannot be evaluated refuses, as failurePolicy Fail has it. */
  refusals(request: PolicyRequest): string[];
}

/** A ValidatingAdmissionPolicy and its binding, from a file below deploy/. */
export function admissionPolicy(file: string): AdmissionPolicy {
  const text = readFileSync(new URL(`../../deploy/${file}`, import.meta.url), 'utf8');
  const [policy, binding] = [...parseAllDocuments(text)].map((one) => asObject(one.toJS()));
  const list = (...path: string[]) => asArray(at(policy, 'spec', ...path));

  return {
    isBound: () =>
      at(binding, 'spec', 'policyName') === at(policy, 'metadata', 'name') &&
      asArray(at(binding, 'spec', 'validationActions')).includes('Deny') &&
      at(policy, 'spec', 'failurePolicy') === 'Fail',
    selects(...labels) {
      const selector = at(policy, 'spec', 'matchConstraints', 'objectSelector');
      return labels.some((each) => isSelected(selector, each));
    },
    applies: (request) => list('matchConditions').every((one) => evaluate(cel(one), { ...request }) === true),
    refusals(request) {
      const variables: Record<string, unknown> = {};
      for (const one of list('variables')) {
        variables[asString(at(one, 'name')) ?? ''] = evaluated(cel(one), { ...request, variables });
      }
      return list('validations')
        .filter((one) => evaluated(cel(one), { ...request, variables }) !== true)
        .map((one) => asString(at(one, 'message')) ?? '');
    },
  };
}

const cel = (one: unknown) => asString(at(one, 'expression')) ?? '';

function isSelected(selector: unknown, labels: Readonly<Record<string, string>>): boolean {
  const byLabel = Object.entries(asStringMap(at(selector, 'matchLabels')));
  return (
    byLabel.every(([key, value]) => labels[key] === value) &&
    asArray(at(selector, 'matchExpressions')).every((one) => {
      const key = asString(at(one, 'key')) ?? '';
      if (at(one, 'operator') !== 'Exists') throw new Error('an operator that this double does not know');
      return Object.hasOwn(labels, key);
    })
  );
}

function evaluated(expression: string, context: Record<string, unknown>): unknown {
  try {
    return evaluate(expression, context);
  } catch {
    return undefined;
  }
}
