import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { asArray, asObject, asString, at, type JsonObject } from '../../src/json.ts';
import { code, type Page, table } from './markdown.ts';

const CRD = 'deploy/crd.yaml';

export function imagePreloadPage(): Page {
  const crd: unknown = parse(readFileSync(new URL(`../../${CRD}`, import.meta.url), 'utf8'));
  const [version] = asArray(at(crd, 'spec', 'versions'));
  const schema = asObject(at(version, 'schema', 'openAPIV3Schema'));
  const fields = [...fieldsOf(schema, '')];
  const section = (root: string) =>
    table(
      ['Field', 'Type', 'Validation', 'Description'],
      fields.filter(({ path }) => path.startsWith(root)).map(({ cells }) => [...cells]),
    );
  return {
    title: 'ImagePreload',
    purpose: `Find the fields of an ImagePreload (\`${asString(at(crd, 'spec', 'group'))}/${asString(at(version, 'name'))}\`, short name \`ipl\`).`,
    sources: [CRD],
    body: [
      asString(schema['description']) ?? '',
      '## Metadata',
      section('metadata.'),
      '## Spec',
      section('spec'),
      '## Status',
      section('status'),
      '## Columns',
      'What `kubectl get ipl` prints.',
      table(
        ['Column', 'Printed with', 'Field', 'Description'],
        asArray(at(version, 'additionalPrinterColumns')).map((column) => [
          asString(at(column, 'name')) ?? '',
          Number(at(column, 'priority') ?? 0) > 0 ? '`-o wide`' : 'always',
          code(asString(at(column, 'jsonPath'))?.slice(1) ?? ''),
          asString(at(column, 'description')) ?? '',
        ]),
      ),
    ],
  };
}

interface Field {
  readonly path: string;
  readonly cells: readonly string[];
}

function* fieldsOf(node: JsonObject, path: string): Generator<Field> {
  const required = asArray(node['required']);
  for (const [name, child] of Object.entries(asObject(node['properties']))) {
    const schema = asObject(child);
    const own = path === '' ? name : `${path}.${name}`;
    const validation = [...(required.includes(name) ? ['required'] : []), ...validationOf(schema)];
    const description = asString(schema['description']) ?? '';
    yield { path: own, cells: [code(own), typeOf(schema), validation.join('; '), description] };
    yield* fieldsOf(schema, own);
    // The items of a list of objects have fields; of any other item the type says it all.
    yield* fieldsOf(asObject(schema['items']), `${own}[]`);
  }
}

function typeOf(schema: JsonObject): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'integer or string';
  const type = asString(schema['type']) ?? '';
  if (type === 'array') return `[]${typeOf(asObject(schema['items']))}`;
  if (schema['additionalProperties'] !== undefined)
    return `map of ${typeOf(asObject(schema['additionalProperties']))}`;
  return schema['format'] === 'date-time' ? 'time' : type;
}

function validationOf(schema: JsonObject): string[] {
  const items = asObject(schema['items'] ?? schema['additionalProperties']);
  const parts = [
    range(schema['minimum'], schema['maximum'], ''),
    range(schema['minLength'], schema['maxLength'], ' characters'),
    range(schema['minItems'], schema['maxItems'] ?? schema['maxProperties'], ' items'),
    // An object in a list has a row for each field.
    items['properties'] === undefined
      ? range(items['minLength'], items['maxLength'], ' characters for each item')
      : '',
    asArray(schema['enum']).map(String).map(code).join(', '),
    schema['pattern'] === undefined ? '' : `pattern ${code(String(schema['pattern']))}`,
    schema['default'] === undefined ? '' : `default ${code(String(schema['default']))}`,
  ];
  return parts.filter((part) => part !== '');
}

function range(least: unknown, most: unknown, unit: string): string {
  if (least === undefined && most === undefined) return '';
  if (most === undefined) return `at least ${String(least)}${unit}`;
  if (least === undefined) return `at most ${String(most)}${unit}`;
  return least === most ? `${String(most)}${unit}` : `${String(least)} to ${String(most)}${unit}`;
}
