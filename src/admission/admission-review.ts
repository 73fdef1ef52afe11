import jsonPatch from 'fast-json-patch';
import { GateError } from '../errors.ts';
import {
  asArray,
  asObject,
  asString,
  at,
  isObject,
  type JsonObject,
  MAX_DEPTH,
  nestsDeeperThan,
} from '../json.ts';
import type { Denial } from './denial.ts';

const API_VERSION = 'admission.k8s.io/v1';
const KIND = 'AdmissionReview';
/** RFC 1123: the API server admits no other namespace nor name of a Deployment. Both end up in shell commands. */
const DNS_SUBDOMAIN = /^[a-z0-9][a-z0-9.-]{0,252}$/;

/** `userInfo` of a review: who sent the update, as the API server authenticated it. */
export interface AdmissionUser {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** What Pullgate reads of `request` in an AdmissionReview: an UPDATE of one Deployment. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly dryRun: boolean;
  readonly namespace: string;
  readonly name: string;
  readonly user: AdmissionUser;
  readonly object: JsonObject;
  readonly oldObject: JsonObject;
}

/** @throws GateError PG_REVIEW_VERSION, or PG_REVIEW_INVALID with the field that is wrong. */
export function parseAdmissionReview(body: unknown): AdmissionRequest {
  if (!isObject(body)) throw invalid('the body is not an object');
  if (body['apiVersion'] !== API_VERSION || body['kind'] !== KIND) {
    throw new GateError('PG_REVIEW_VERSION', {
      apiVersion: asString(body['apiVersion']) ?? '(none)',
      kind: asString(body['kind']) ?? '(none)',
    });
  }
  const request = body['request'];
  if (!isObject(request)) throw invalid('request is missing');
  const uid = asString(request['uid']);
  if (!uid) throw invalid('request.uid is missing');
  checkRule(request);
  const parsed = {
    uid,
    dryRun: request['dryRun'] === true,
    namespace: dnsName(request, 'namespace'),
    name: dnsName(request, 'name'),
    user: parseUser(request['userInfo']),
    object: parseObject(request, 'object'),
    oldObject: parseObject(request, 'oldObject'),
  };
  // A hold is bound to it: one without would never be believed, and so never be released.
  if (!asString(at(parsed.oldObject, 'metadata', 'uid')))
    throw invalid('request.oldObject.metadata.uid is missing');
  return parsed;
}

/** The rule of the webhook configuration: UPDATE of apps/v1 deployments, no subresource. */
function checkRule(request: JsonObject): void {
  const operation = asString(request['operation']) ?? '(none)';
  if (operation !== 'UPDATE') throw invalid(`request.operation is ${operation}, not UPDATE`);
  const [group, version, resource] = ['group', 'version', 'resource'].map(
    (key) => asString(at(request, 'resource', key)) ?? '(none)',
  );
  if (group !== 'apps' || version !== 'v1' || resource !== 'deployments')
    throw invalid(`request.resource is ${group}/${version} ${resource}, not apps/v1 deployments`);
  const subresource = asString(request['subResource']);
  if (subresource) throw invalid(`request.subResource is ${subresource}, which is not to be gated`);
}

function dnsName(request: JsonObject, field: 'namespace' | 'name'): string {
  const name = asString(request[field]);
  if (name === undefined || !DNS_SUBDOMAIN.test(name))
    throw invalid(`request.${field} is ${name === undefined ? 'missing' : 'not a DNS name'}`);
  return name;
}

function parseUser(userInfo: unknown): AdmissionUser {
  const username = asString(at(userInfo, 'username'));
  if (!username) throw invalid('request.userInfo.username is missing');
  const uid = asString(at(userInfo, 'uid'));
  const extra = Object.entries(asObject(at(userInfo, 'extra'))).map(([key, values]) => [
    key,
    strings(values),
  ]);
  return {
    username,
    ...(uid && { uid }),
    groups: strings(at(userInfo, 'groups')),
    extra: Object.fromEntries(extra),
  };
}

function strings(value: unknown): string[] {
  return asArray(value).filter((entry) => typeof entry === 'string');
}

function parseObject(request: JsonObject, field: 'object' | 'oldObject'): JsonObject {
  const object = request[field];
  if (!isObject(object)) throw invalid(`request.${field} is missing`);
  for (const part of ['metadata', 'spec'])
    if (!isObject(object[part])) throw invalid(`request.${field}.${part} is missing`);
  // It becomes part of the preload's name, and that of a command to paste.
  if (at(object, 'metadata', 'name') !== request['name'])
    throw invalid(`request.${field}.metadata.name is not request.name`);
  // Rewritten as maps of strings: an entry of another type would be lost on the way.
  for (const map of ['annotations', 'labels'])
    if (!isStringMap(at(object, 'metadata', map) ?? {}))
      throw invalid(`request.${field}.metadata.${map} is not a map of strings`);
  if (nestsDeeperThan(MAX_DEPTH, object))
    throw invalid(`request.${field} nests deeper than ${MAX_DEPTH} levels`);
  return object;
}

function isStringMap(value: unknown): boolean {
  return isObject(value) && Object.values(value).every((entry) => typeof entry === 'string');
}

function invalid(detail: string): GateError {
  return new GateError('PG_REVIEW_INVALID', { detail });
}

interface AdmissionAnswer {
  /** The object as it is to be stored. */
  readonly object: JsonObject;
  /** Why the update is denied; absent if it is let through. */
  readonly denial?: Denial | undefined;
  readonly warnings: readonly string[];
  /** Keys without prefix: the API server puts the webhook's name before them. */
  readonly auditAnnotations: Readonly<Record<string, string>>;
}

/** Returns the AdmissionReview that denies the request of this uid. */
export function deniedResponse(uid: string, denial: Denial): JsonObject {
  return {
    apiVersion: API_VERSION,
    kind: KIND,
    response: { uid, allowed: false, status: denialStatus(denial) },
  };
}

/** The AdmissionReview that goes back, with a JSON patch if the object is to be stored otherwise than it came. */
export function admissionResponse(request: AdmissionRequest, answer: AdmissionAnswer): JsonObject {
  const { object, denial, warnings, auditAnnotations } = answer;
  // Most updates are let through as they are: the very same object has no difference to look for.
  const patch = object === request.object ? [] : jsonPatch.compare(request.object, object);
  return {
    apiVersion: API_VERSION,
    kind: KIND,
    response: {
      uid: request.uid,
      allowed: denial === undefined,
      ...(denial !== undefined && { status: denialStatus(denial) }),
      ...(denial === undefined &&
        patch.length > 0 && {
          patchType: 'JSONPatch',
          patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
        }),
      ...(warnings.length > 0 && { warnings }),
      auditAnnotations,
    },
  };
}

/** A metav1.Status. The API server makes the header Retry-After from its details. */
function denialStatus({ code, reason, message, retryAfterSeconds }: Denial): JsonObject {
  return {
    code,
    reason,
    message,
    ...(retryAfterSeconds !== undefined && { details: { retryAfterSeconds } }),
  };
}
