/** Characters of what is kept of a failure. */
const DETAIL_LIMIT = 3000;

/** A reporter of node:test that writes nothing but the counts of the whole run and the failures, as JSON. */
// node:test takes a reporter as the default export of its module.
// biome-ignore lint/style/noDefaultExport: see above
export default async function* counts(source) {
  const failures = [];
  for await (const { type, data } of source) {
    // A suite or a file fails with what is in it.
    if (type === 'test:fail' && data.details.error?.failureType !== 'subtestsFailed') {
      const { cause } = data.details.error ?? {};
      const lines = String(cause?.stack ?? cause ?? data.details.error).split('\n');
      const detail = lines
        .filter((line) => !/^ +at .*node:/.test(line))
        .join('\n')
        .slice(0, DETAIL_LIMIT);
      failures.push({ name: data.name, place: `${data.file}:${data.line}`, detail });
    }
    if (type === 'test:summary' && data.file === undefined)
      yield JSON.stringify({ ...data.counts, failures });
  }
}
