import { asString, at, type JsonObject } from '../../../src/json.ts';
import { run } from '../../cluster/lab/command.ts';
import { neighbour } from '../../cluster/lab/neighbours.ts';
import type { Namespace } from './namespace.ts';

/** Longer than any wait of a test. */
const TIMEOUT_SECONDS = 180;

export interface FluxResult {
  readonly code: number;
  /** What became of the object: `created`, `configured`, `unchanged`. Undefined where Flux did not get that far. */
  readonly action: string | undefined;
  /** `ready` or `failed`. Undefined without `--wait`. */
  readonly wait: string | undefined;
  /** Why the wait or the apply failed. */
  readonly error: string;
  readonly seconds: number;
}

/** Reconciles this one object as Flux's kustomize-controller does, by its library. */
export async function fluxApply(
  { name, lab }: Namespace,
  object: JsonObject,
  ...flags: readonly string[]
): Promise<FluxResult> {
  const metadata = { ...(object['metadata'] as JsonObject), namespace: name };
  const began = performance.now();
  const { code, stdout, stderr } = await run(
    [neighbour('flux-apply'), '--kubeconfig', lab.kubeconfig, ...flags],
    { input: JSON.stringify({ ...object, metadata }), allowFailure: true, timeoutSeconds: TIMEOUT_SECONDS },
  );
  const lines = stdout
    .split('\n')
    .filter(Boolean)
    .map((line): unknown => JSON.parse(line));
  const last = (key: string) =>
    lines.map((line) => asString(at(line, key))).findLast((one) => one !== undefined);
  return {
    code,
    action: last('action'),
    wait: last('wait'),
    error: last('error') ?? stderr,
    seconds: (performance.now() - began) / 1000,
  };
}
