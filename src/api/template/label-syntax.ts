// The rules of k8s.io/apimachinery, util/validation: IsQualifiedName and IsValidLabelValue. None of the expressions backtracks.
const NAME = '[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?';
const DNS_LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const KEY = new RegExp(`^(?:(?=[^/]{1,253}/)${DNS_LABEL}(?:\\.${DNS_LABEL})*/)?${NAME}$`);
const VALUE = new RegExp(`^(?:${NAME})?$`);
const LONGEST_KEY = 253 + 1 + 63;
const LONGEST_VALUE = 63;

/** Returns whether an API server accepts the text as the key of a label. */
export function isLabelKey(text: string): boolean {
  return text.length <= LONGEST_KEY && KEY.test(text);
}

/** Returns whether an API server accepts the text as the value of a label. The empty text is one. */
export function isLabelValue(text: string): boolean {
  return text.length <= LONGEST_VALUE && VALUE.test(text);
}
