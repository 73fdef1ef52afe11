import { readFileSync } from 'node:fs';
import { Environment } from '@marcbachmann/cel-js';
import { parseAllDocuments } from 'yaml';
import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../../../src/json.ts';

/** What the expressions of a policy see of a request. */
export interface PolicyRequest {
  readonly request?: JsonObject;
  readonly object?: JsonObject;
  /** Null where something is created, as the API server has it. */
  readonly oldObject?: JsonObject | null;
  /** What the authorizer allows the user, such as `bypass imagepreloads.pullgate.io in shop`. */
  readonly allowed?: readonly string[];
}

export interface AdmissionPolicy {
  /** Whether it refuses at all: a policy without a binding does nothing. */
  isBound(): boolean;
  /** Whether the API server asks the policy about a pod with these labels: of an update both objects are looked at. */
  selects(...labels: readonly Readonly<Record<string, string>>[]): boolean;
  /** Whether the conditions under which the policy applies are met. */
  applies(request: PolicyRequest): boolean;
  /** What the binding does with a request that is not fulfilled, such as `Deny`; nothing without a binding. */
  actions(): readonly unknown[];
  /** The text of each expression, of variables and validations. */
  expressions(): string[];
  /** The messages of what is not fulfilled. An expression that cannot be evaluated refuses, as failurePolicy Fail has it. */
  refusals(request: PolicyRequest): string[];
}

/** A ValidatingAdmissionPolicy and its binding, from a file below deploy/. */
export function admissionPolicy(file: string): AdmissionPolicy {
  const text = readFileSync(new URL(`../../../deploy/${file}`, import.meta.url), 'utf8');
  const [policy, binding] = [...parseAllDocuments(text)].map((one) => asObject(one.toJS()));
  const list = (...path: string[]) => asArray(at(policy, 'spec', ...path));

  return {
    isBound: () =>
      at(binding, 'spec', 'policyName') === at(policy, 'metadata', 'name') &&
      asArray(at(binding, 'spec', 'validationActions')).includes('Deny') &&
      at(policy, 'spec', 'failurePolicy') === 'Fail',
    actions: () =>
      at(binding, 'spec', 'policyName') === at(policy, 'metadata', 'name')
        ? asArray(at(binding, 'spec', 'validationActions'))
        : [],
    expressions: () => [...list('variables'), ...list('validations')].map(textOf),
    selects(...labels) {
      const selector = at(policy, 'spec', 'matchConstraints', 'objectSelector');
      return labels.some((each) => isSelected(selector, each));
    },
    applies: (request) =>
      list('matchConditions').every((one) => cel.evaluate(textOf(one), contextOf(request)) === true),
    refusals(request) {
      const variables: Record<string, unknown> = {};
      for (const one of list('variables')) {
        variables[asString(at(one, 'name')) ?? ''] = evaluated(one, { ...contextOf(request), variables });
      }
      return list('validations')
        .filter((one) => evaluated(one, { ...contextOf(request), variables }) !== true)
        .map((one) => {
          const expression = at(one, 'messageExpression');
          const message = evaluated({ expression }, { ...contextOf(request), variables });
          return asString(message) ?? asString(at(one, 'message')) ?? '';
        });
    },
  };
}

const textOf = (one: unknown) => asString(at(one, 'expression')) ?? '';

function contextOf({ allowed = [], ...request }: PolicyRequest): Record<string, unknown> {
  return { ...request, authorizer: new Authorizer(allowed) };
}

/** `authorizer.group(g).resource(r).namespace(n).check(verb).allowed()`, of which each step but the last is one of these. */
class Authorizer {
  readonly #allowed: readonly string[];
  readonly #asked: Readonly<Record<string, string>>;

  constructor(allowed: readonly string[], asked: Readonly<Record<string, string>> = {}) {
    this.#allowed = allowed;
    this.#asked = asked;
  }

  with(name: string, value: string): Authorizer {
    return new Authorizer(this.#allowed, { ...this.#asked, [name]: value });
  }

  allows(): boolean {
    const { group, resource, namespace, check } = this.#asked;
    return this.#allowed.includes(`${check} ${resource}.${group} in ${namespace}`);
  }
}

const cel = new Environment({ unlistedVariablesAreDyn: true })
  .registerType('Authorizer', Authorizer)
  .registerVariable('authorizer', 'Authorizer')
  .registerFunction('Authorizer.allowed(): bool', (one: Authorizer) => one.allows());
for (const step of ['group', 'resource', 'namespace', 'check'])
  cel.registerFunction(`Authorizer.${step}(string): Authorizer`, (one: Authorizer, text: string) =>
    one.with(step, text),
  );

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

function evaluated(one: unknown, context: Record<string, unknown>): unknown {
  try {
    return cel.evaluate(textOf(one), context);
  } catch {
    return undefined;
  }
}
