/**
 * Runtimes that run the WebAssembly of an image whatever the command of the container is (runwasi and the shims that are made from
 * it; crun with a WebAssembly engine). A puller pod would start the new version there.
 */
const RUNTIMES =
  /(?:^|[^a-z])(?:wasm\w*|wasi\w*|runwasi|kwasm|spin(?:kube)?|slight|spiderlightning|lunatic|wws|wamr)(?:$|[^a-z])/;

/** Returns whether pods of this runtime class run WebAssembly, by the names of the class and of its handler. */
export function runsWasm(...names: readonly (string | undefined)[]): boolean {
  return names.some((name) => name !== undefined && RUNTIMES.test(name.toLowerCase()));
}

/** Why a Deployment of this runtime class is not preloaded. */
export function wasmMessage(runtimeClass: string): string {
  return (
    `the runtime class ${runtimeClass} runs WebAssembly: it would run the image instead of only pulling it, so nothing is ` +
    'preloaded, and each node pulls when a pod starts there'
  );
}
