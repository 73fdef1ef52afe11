/** A reporter of node:test that writes nothing but the counts of the whole run, as JSON. */
// node:test takes a reporter as the default export of its module.
// biome-ignore lint/style/noDefaultExport: see above
export default async function* counts(source) {
  for await (const { type, data } of source) {
    if (type === 'test:summary' && data.file === undefined) yield JSON.stringify(data.counts);
  }
}
