/** Powers of the suffixes of apimachinery, pkg/api/resource/quantity.go. */
const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The longest quantity that an API server writes has some 20 characters. */
export const QUANTITY_CHARACTERS = 63;

/**
 * Reads a Kubernetes quantity such as `500m`, `1.5Gi` or `1e3`. Returns undefined for any other text. The number has 53 significant
 * bits: enough to compare what a pod requests with what a node has.
 */
export function parseQuantity(text: string): number | undefined {
  if (text.length > QUANTITY_CHARACTERS) return undefined;
  const [, digits, exponent, suffix = ''] =
    /^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const factor = exponent === undefined ? SUFFIXES[suffix] : 10 ** Number(exponent);
  const value = Number(digits) * (factor ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

/** Returns the quantity as text, rounded up to thousandths as API servers round requests. */
export function formatQuantity(value: number): string {
  if (Number.isInteger(value)) return String(value);
  // The sum of 0.1 and 0.2 is a little more than 0.3, which is no reason to round up.
  const thousandths = Math.ceil(value * 1000 - 1e-6);
  return thousandths % 1000 === 0 ? String(thousandths / 1000) : `${thousandths}m`;
}
