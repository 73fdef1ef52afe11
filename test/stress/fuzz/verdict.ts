import jsonPatch from 'fast-json-patch';
import { parseAdmissionReview } from '../../../src/admission/admission-review.ts';
import { ERRORS } from '../../../src/errors.ts';
import { asArray, asObject, asString, at, isObject, type JsonObject } from '../../../src/json.ts';
import type { Answer, Outcome } from './connection.ts';
import { BODY_LIMIT, type FuzzRequest } from './fuzz-request.ts';

/** The server's 5 s for a body, and what a busy machine adds. */
const SLOW_LIMIT_MS = 7000;

/** Bodies beyond a megabyte may have so many values (docs/security.md, limits). */
const SCANNED_BYTES = 1024 * 1024;
const VALUES_LIMIT = 500_000;

/** What is wrong with this outcome; `undefined` if it is as promised. */
export function whatIsWrong(request: FuzzRequest, outcome: Outcome): string | undefined {
  const { answers, closed, ms } = outcome;
  for (const answer of answers) {
    const wrong = wrongAnswer(request, answer);
    if (wrong !== undefined) return `${wrong}: ${answer.status} ${answer.body.slice(0, 500)}`;
  }
  switch (request.ending) {
    case 'drop':
      return undefined;
    case 'slow':
      if (ms > SLOW_LIMIT_MS) return `a slow body was waited for ${Math.round(ms)} ms`;
      if (answers.some(({ status }) => status < 400))
        return 'a body that never came was answered as if it had';
      return closed ? undefined : 'the connection of a slow body stays open';
    case 'end':
      return closed ? undefined : 'the connection was not closed after its end';
    case 'keep':
      if (answers.length > 0) return undefined;
      // Refused before all of it was sent: the answer can be lost with the connection.
      if (closed && (expectedStatus(request) ?? 0) > 400) return undefined;
      return closed ? 'the connection was closed without an answer' : `no answer after ${Math.round(ms)} ms`;
  }
}

function wrongAnswer(request: FuzzRequest, answer: Answer): string | undefined {
  if (answer.status >= 500 || Number.isNaN(answer.status)) return 'an error of the server';
  let body: unknown;
  try {
    body = JSON.parse(answer.body);
  } catch {
    return 'the answer is not JSON';
  }
  if (answer.status !== 200) {
    const expected = expectedStatus(request);
    return wrongStatus(answer, body) ?? (expected === 200 ? 'a valid review was refused' : undefined);
  }
  const expected = expectedStatus(request);
  // This gate has `--bypass-needs-permission`: an update that it cannot read is denied, where the review's head says which it is.
  if (expected === 413 && isDenialOfUnread(body)) return undefined;
  if (expected !== 200 && request.body !== undefined) return 'this should have been refused';
  return wrongReview(request, body);
}

function isDenialOfUnread(answer: unknown): boolean {
  const response = at(answer, 'response');
  const message = asString(at(response, 'status', 'message')) ?? '';
  return (
    at(response, 'allowed') === false &&
    at(response, 'status', 'code') === 403 &&
    at(response, 'patch') === undefined &&
    /: PG_BODY_(TOO_LARGE|VALUES): /.test(message)
  );
}

/** Every refusal is a Status with an error of the table. */
function wrongStatus({ status }: Answer, body: unknown): string | undefined {
  if (at(body, 'kind') !== 'Status' || at(body, 'apiVersion') !== 'v1' || at(body, 'status') !== 'Failure')
    return 'the answer is not a Status';
  const code = /^(PG_[A-Z_]+): /.exec(asString(at(body, 'message')) ?? '')?.[1];
  const [, entry] = Object.entries(ERRORS).find(([key]) => key === code) ?? [];
  if (entry === undefined || !('status' in entry) || entry.status !== status || at(body, 'code') !== status)
    return 'the code is not the one of the table';
  return undefined;
}

/** What the answer to this request has to be: 200, or the kind of refusal. `undefined`: anything that is not 5xx. */
function expectedStatus({ body, contentType }: FuzzRequest): 200 | 400 | 413 | 415 | undefined {
  if (body === undefined) return undefined;
  if (!contentType.json) return 415;
  if (body.length > BODY_LIMIT || (body.length > SCANNED_BYTES && valuesIn(body) > VALUES_LIMIT)) return 413;
  try {
    const review: unknown = JSON.parse(withoutByteOrderMark(body));
    if (poisonsPrototypes(review)) return 400;
    parseAdmissionReview(review);
    return 200;
  } catch {
    return 400;
  }
}

/** The values of a JSON text, near enough: each list and object that begins, and each comma between two values. */
function valuesIn(body: Buffer): number {
  let count = 0;
  let inText = false;
  for (let index = 0; index < body.length; index += 1) {
    const character = String.fromCharCode(body[index] ?? 0);
    if (inText && character === '\\') index += 1;
    else if (character === '"') inText = !inText;
    else if (!inText && ',[{'.includes(character)) count += 1;
  }
  return count;
}

function withoutByteOrderMark(body: Buffer): string {
  return body.toString().replace(/^\ufeff/, '');
}

/** By a loop: what is tested here nests deeper than a stack. */
function poisonsPrototypes(value: unknown): boolean {
  const left = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next !== 'object' || next === null) continue;
    if (Object.hasOwn(next, '__proto__')) return true;
    const ofConstructor: unknown = Object.hasOwn(next, 'constructor') && Reflect.get(next, 'constructor');
    if (
      typeof ofConstructor === 'object' &&
      ofConstructor !== null &&
      Object.hasOwn(ofConstructor, 'prototype')
    )
      return true;
    for (const entry of Object.values(next)) left.push(entry);
  }
  return false;
}

function wrongReview(request: FuzzRequest, answer: unknown): string | undefined {
  if (at(answer, 'apiVersion') !== 'admission.k8s.io/v1' || at(answer, 'kind') !== 'AdmissionReview')
    return 'the answer is not an AdmissionReview';
  const response = at(answer, 'response');
  const allowed = at(response, 'allowed');
  if (typeof allowed !== 'boolean') return 'the answer does not say whether it is allowed';
  const warnings = asArray(at(response, 'warnings')).map(String);
  if (!warnings.every((line) => /^[\x20-\x7e]*$/.test(line)) || warnings.join('').length > 4096)
    return 'a warning that an API server does not pass on';
  // What the server read is not known: nothing to compare with.
  if (request.body === undefined) return undefined;
  const review: unknown = JSON.parse(withoutByteOrderMark(request.body));
  if (at(response, 'uid') !== at(review, 'request', 'uid')) return 'the answer is to another review';
  const patch = asString(at(response, 'patch'));
  if (patch === undefined) return undefined;
  if (!allowed || at(response, 'patchType') !== 'JSONPatch') return 'a patch that does not apply';
  const operations: unknown = JSON.parse(Buffer.from(patch, 'base64').toString());
  return wrongPatch(asObject(at(review, 'request', 'object')), asArray(operations) as jsonPatch.Operation[]);
}

const OWN_KEY = 'pullgate.io/';
const OWN_PATH = /^\/(spec\/paused|metadata\/(annotations|labels)(\/pullgate\.io~1[^/]*)?)$/;

/** Applied to the object, the patch changes `spec.paused` and what is of `pullgate.io`, nothing else. */
function wrongPatch(object: JsonObject, patch: readonly jsonPatch.Operation[]): string | undefined {
  const foreign = patch.find(
    ({ op, path }) => !['add', 'remove', 'replace'].includes(op) || !OWN_PATH.test(path),
  );
  if (foreign !== undefined) return `the patch touches ${foreign.path}`;
  // Copied as deep as the paths above go: what is deeper may nest beyond any stack, and stays the very same.
  const metadata = asObject(object['metadata']);
  const copies = Object.fromEntries(
    ['annotations', 'labels'].flatMap((map) => {
      const value = at(metadata, map);
      return isObject(value) ? [[map, { ...value }]] : [];
    }),
  );
  const copy = { ...object, metadata: { ...metadata, ...copies }, spec: { ...asObject(object['spec']) } };
  const patched = jsonPatch.applyPatch(copy, [...patch], true).newDocument;
  const [before, after] = [foreignParts(object), foreignParts(patched)];
  for (const key of new Set([...before.keys(), ...after.keys()]))
    if (!Object.is(before.get(key), after.get(key))) return `the patch changes ${key}`;
  return undefined;
}

/** All that is not ours, by path. An empty map and none are the same to the API server. */
function foreignParts(object: JsonObject): Map<string, unknown> {
  const parts = new Map<string, unknown>();
  const add = (path: string, value: unknown, leaveOut: (key: string) => boolean) => {
    if (!isObject(value)) {
      if (value !== undefined && value !== null) parts.set(path, value);
      return;
    }
    for (const [key, entry] of Object.entries(value)) if (!leaveOut(key)) parts.set(`${path}/${key}`, entry);
  };
  add('', object, (key) => key === 'metadata' || key === 'spec');
  add('/spec', object['spec'], (key) => key === 'paused');
  add('/metadata', object['metadata'], (key) => key === 'annotations' || key === 'labels');
  for (const map of ['annotations', 'labels'])
    add(`/metadata/${map}`, at(object, 'metadata', map), (key) => key.startsWith(OWN_KEY));
  return parts;
}
