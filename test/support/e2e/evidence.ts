import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lab } from '../../cluster/lab/lab.ts';

/** What explains a failed test in its namespace, as kubectl prints it: the name of a file, and the arguments. */
const KEPT: readonly (readonly [string, ...string[]])[] = [
  ['describe.txt', 'describe', 'deployments,imagepreloads,pods,replicasets'],
  ['events.txt', 'get', 'events', '--sort-by=.metadata.creationTimestamp', '-o', 'wide'],
  [
    'objects.yaml',
    'get',
    'deployments,imagepreloads,pods,replicasets,resourcequotas,limitranges',
    '-o',
    'yaml',
  ],
];

/** A test that has failed has `passed: false` when its `after` hooks run (Node 24, TestContext). A suite has no such field. */
function hasFailed(scope: object): boolean {
  return 'passed' in scope && scope.passed === false;
}

/**
 * Keeps what is needed to see why a test failed, before its namespace is deleted, and prints where: the objects, the Events and what the gate
 * has logged. Does nothing for a test that passed.
 */
export async function keepEvidence(
  scope: object,
  lab: Pick<Lab, 'kubectl'>,
  namespace: string,
  gateLog: () => readonly unknown[],
): Promise<void> {
  if (!hasFailed(scope)) return;
  const folder = join(tmpdir(), 'pullgate-failed', namespace);
  mkdirSync(folder, { recursive: true });
  for (const [file, ...args] of KEPT) {
    const { stdout, stderr } = await lab.kubectl(['-n', namespace, ...args], { timeoutSeconds: 30 });
    writeFileSync(join(folder, file), stdout + stderr);
  }
  writeFileSync(
    join(folder, 'gate.log'),
    gateLog()
      .map((line) => `${JSON.stringify(line)}\n`)
      .join(''),
  );
  process.stdout.write(`evidence of the failed test in namespace ${namespace}: ${folder}\n`);
}
