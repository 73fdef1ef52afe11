// Runs on whatever Node the machine has (20 or later), before anything is installed: plain JavaScript, no
// dependencies. Installs what package-lock.json names if that has not been done, then runs the given file on the
// Node that came with it.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamp = `${root}node_modules/.pullgate-installed`;
const wanted = createHash('sha256')
  .update(readFileSync(`${root}package-lock.json`))
  .digest('hex');

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  process.stderr.write('installing the packages of package-lock.json (npm ci), half a minute or so ...\n');
  // The engine warning is about the Node that is being replaced right here.
  const install = spawnSync('npm', ['ci', '--loglevel=error', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (install.status !== 0) {
    process.stderr.write('npm ci failed: see above. Is the npm registry reachable?\n');
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}

const [file, ...args] = process.argv.slice(2);
const child = spawn(`${root}node_modules/.bin/node`, [file, ...args], { cwd: root, stdio: 'inherit' });
// A Ctrl-C reaches the child from the terminal itself; this process only waits for it to finish cleaning up.
process.on('SIGINT', () => undefined);
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal === null ? code : 1));
