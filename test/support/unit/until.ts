/** Resolves once the condition holds; fails after 10 s. */
export async function until(condition: () => boolean, what = String(condition)): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`still not true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
