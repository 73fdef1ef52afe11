import { asString, isObject, type JsonObject } from '../../../src/json.ts';

/** Packages with the schemas of one release of each project, by API group. All else is Kubernetes' own. */
const PACKAGES: Readonly<Record<string, string>> = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
};

interface Model {
  readonly prototype: { validate(this: unknown): void };
}

/** What the schema of its kind has against an object: wrong values first, or else the fields that it does not have. */
export async function schemaViolations(object: JsonObject): Promise<string[]> {
  const [version = '', group = ''] = (asString(object['apiVersion']) ?? '').split('/').toReversed();
  const kind = asString(object['kind']) ?? '';
  const path = [PACKAGES[group] ?? 'kubernetes-models', group, version, kind].filter((part) => part !== '');
  const { [kind]: model } = (await import(path.join('/'))) as Record<string, Model>;
  if (model === undefined) return [`no schema of ${kind}`];
  const looked = new Set<string>();
  try {
    model.prototype.validate.call(watched(object, '', looked));
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
  return fields(object, '').filter((field) => !looked.has(field) && !isOpen(field));
}

/**
 * The schemas let unknown fields pass. Those are the ones that the validation does not look at: it reads each field that it
 * has a schema for, and all of a map.
 */
function watched(value: unknown, path: string, looked: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return new Proxy(value, {
    get(target, key) {
      const field: unknown = Reflect.get(target, key);
      if (typeof key !== 'string' || !Object.hasOwn(target, key)) return field;
      looked.add(`${path}/${key}`);
      return watched(field, `${path}/${key}`, looked);
    },
  });
}

function fields(value: unknown, path: string): string[] {
  const entries = isObject(value) || Array.isArray(value) ? Object.entries(value) : [];
  return entries.flatMap(([key, field]) => [`${path}/${key}`, ...fields(field, `${path}/${key}`)]);
}

/**
 * What these schemas (5.1.0) have nothing of: a field `description` of a kind, as their generator takes it for what is said of
 * the schema; and what is below the schema in a CustomResourceDefinition. That one is applied in the tests.
 */
function isOpen(field: string): boolean {
  return /^\/description$|\/additionalPrinterColumns\/\d+\/description$|\/openAPIV3Schema\//.test(field);
}
