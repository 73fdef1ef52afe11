import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.ts';
import { goToolchain } from './go-toolchain.ts';

/** The one program in the scratch image and in the pause image. It imports nothing, so no module is fetched. */
export async function waitProgram(cache: string, log: (line: string) => void): Promise<string> {
  const source = join(import.meta.dirname, 'wait.go');
  const key = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 8);
  const result = join(cache, `wait-${key}`);
  if (existsSync(result)) return result;
  const go = await goToolchain(cache, log);
  const work = join(cache, 'build-wait');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  log('building the program of the scratch and pause images');
  await run([go.command, 'build', '-ldflags=-s -w', '-o', join(work, 'wait'), source], {
    cwd: work,
    env: go.env,
  });
  renameSync(join(work, 'wait'), result);
  rmSync(work, { recursive: true });
  return result;
}
