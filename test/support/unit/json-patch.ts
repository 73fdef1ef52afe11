import jsonPatch, { type Operation } from 'fast-json-patch';
import { at, type JsonObject } from '../../../src/json.ts';

/** Applied as API servers do it (evanphx/json-patch): on a copy or not at all, and a test for null holds for what is not there. */
export function applyJsonPatch(object: JsonObject, operations: readonly Operation[]): JsonObject {
  const checked = operations.filter(
    (operation) => !(isTestForNull(operation) && isMissing(object, operation.path)),
  );
  return jsonPatch.applyPatch(structuredClone(object), checked, true).newDocument;
}

function isTestForNull(operation: Operation): boolean {
  return operation.op === 'test' && operation.value === null;
}

function isMissing(object: JsonObject, path: string): boolean {
  const steps = path.split('/').slice(1).map(jsonPatch.unescapePathComponent);
  return at(object, ...steps) === undefined && at(object, ...steps.slice(0, -1)) !== undefined;
}
