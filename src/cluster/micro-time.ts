/** A V1MicroTime has six decimals: with three the API server answers 400. */
export function microTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace('Z', '000Z');
}
