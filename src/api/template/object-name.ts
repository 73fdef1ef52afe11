/** The longest name of an object, a DNS subdomain (RFC 1123). */
export const NAME_CHARACTERS = 253;
/**
 * What deploy/crd.yaml asks of the name of a Secret, a ServiceAccount, a RuntimeClass or a Node: apimachinery, util/validation,
 * IsDNS1123Subdomain. Without a name, the default counts.
 */
export const OBJECT_NAME = '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$';
const PATTERN = new RegExp(OBJECT_NAME);

/** Returns false for a text such as `..`, which leads somewhere else in the path of a call. */
export function isObjectName(text: string): boolean {
  return text.length <= NAME_CHARACTERS && PATTERN.test(text);
}
