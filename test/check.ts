import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Everything that can be said of the code without running it. Under 30 s. */
const CHECKS: readonly (readonly [string, ...string[]])[] = [
  ['tsc', '-p', 'tsconfig.json'],
  ['biome', 'check', '--error-on-warnings', '.'],
  ['depcruise', '--config', '.ci/dependency-cruiser.cjs', 'src', 'test'],
  ['knip', '--no-progress'],
];

const bin = fileURLToPath(new URL('../node_modules/.bin/', import.meta.url));
let failed = 0;
for (const [tool, ...args] of CHECKS) {
  const began = performance.now();
  const { status } = spawnSync(bin + tool, args, { stdio: 'inherit' });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stderr.write(`${status === 0 ? 'ok' : 'FAILED'} ${tool} (${seconds} s)\n`);
  if (status !== 0) failed += 1;
}
process.exitCode = failed === 0 ? 0 : 1;
