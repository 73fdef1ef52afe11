import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../../..');

/** The gate as its image has it: Node needs 30 MB more where it has to strip types. Returns what the image runs, after `node`. */
export async function compileGate(folder: string): Promise<string[]> {
  const at = join(folder, 'gate');
  await mkdir(at);
  for (const part of ['node_modules', 'deploy', 'package.json'])
    await symlink(join(ROOT, part), join(at, part));
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [tsc, '-p', join(ROOT, 'src'), '--outDir', join(at, 'dist')]);
  const [node, ...program] = JSON.parse(
    /^ENTRYPOINT (.*)$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))?.[1] ?? '[]',
  ) as string[];
  if (node !== 'node') throw new Error('Dockerfile: the entry point is not node');
  return program.map((part) => (part.startsWith('-') ? part : join(at, part)));
}
