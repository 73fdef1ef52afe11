export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Slope {
  /** By how much `y` grows when `x` grows by 1. */
  readonly of: number;
  /** Its standard error. */
  readonly error: number;
}

/** Least squares. Nothing is known of fewer than three points, nor where `x` does not vary. */
export function slope(points: readonly Point[]): Slope {
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  const variance = sum(points.map(({ x }) => (x - meanX) ** 2));
  if (points.length < 3 || variance === 0) return { of: 0, error: Number.POSITIVE_INFINITY };
  const of = sum(points.map(({ x, y }) => (x - meanX) * (y - meanY))) / variance;
  const rest = sum(points.map(({ x, y }) => (y - meanY - of * (x - meanX)) ** 2));
  return { of, error: Math.sqrt(rest / (points.length - 2) / variance) };
}

function mean(values: readonly number[]): number {
  return sum(values) / Math.max(1, values.length);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
