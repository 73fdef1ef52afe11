import { execFile } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '../../..');

/** The gate as its image has it: Node needs 30 MB more where it has to strip types. Returns its main program. */
export async function compileGate(folder: string): Promise<string> {
  const at = join(folder, 'gate');
  await mkdir(at);
  for (const part of ['node_modules', 'deploy', 'package.json'])
    await symlink(join(ROOT, part), join(at, part));
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [tsc, '-p', join(ROOT, 'src'), '--outDir', join(at, 'dist')]);
  return join(at, 'dist/main.js');
}
