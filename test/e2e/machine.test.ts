import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { cgroupFolders, createCgroups } from '../cluster/lab/cgroups.ts';
import { run } from '../cluster/lab/command.ts';
import { status } from '../cluster/lab/lab.ts';
import { type Machine, startMachine } from '../cluster/lab/machine.ts';
import { until } from '../support/e2e/until.ts';

const LAB = join(import.meta.dirname, '../cluster/lab');
const NAME = 'of-a-test';
const CGROUP = `pullgate-lab-${NAME}`;
/** Nobody else sleeps for that long. */
const SLEEP = ['sleep', '98765.4321'];

const start = () => startMachine(NAME, { PATH: process.env['PATH'] ?? '' });

/** What a command prints in there. */
async function say(machine: Machine, ...argv: string[]): Promise<string> {
  const { stdout } = await run(machine.enter(argv), { allowFailure: true, timeoutSeconds: 60 });
  return stdout.trim();
}

function sleepers(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `${SLEEP.join('\0')}\0`;
    } catch {
      return false;
    }
  });
}

test('in a machine within this one there is no lab, and the lab here goes on', async (t) => {
  const machine = await start();
  t.after(machine.stop);
  const main = [process.execPath, join(LAB, 'main.ts')];
  assert.equal(await say(machine, ...main, 'status'), 'no lab is running (npm run lab -- up)');
  assert.equal(await say(machine, ...main, 'down'), '');
  assert.equal(await say(machine, 'ls', '/run'), 'lock\npullgate-lab.lock');
  assert.equal(await say(machine, 'printenv', 'PULLGATE_LAB_CGROUP'), CGROUP);
  assert.deepEqual((await status()).problems, []);

  // As a component of a lab: the process that starts it does not wait for it.
  await say(machine, 'sh', '-c', `setsid ${SLEEP.join(' ')} >/dev/null 2>&1 &`);
  assert.equal(sleepers().length, 1);
  createCgroups(CGROUP);
  await machine.stop();
  assert.deepEqual(sleepers(), []);
  await machine.remove();
  assert.deepEqual([existsSync(dirname(machine.state)), cgroupFolders(CGROUP)], [false, []]);
});

test('a machine ends with the process that started it, and the next one finds nothing of it', async (t) => {
  const program = `import { spawn } from 'node:child_process';
    const { startMachine } = await import(${JSON.stringify(join(LAB, 'machine.ts'))});
    const { enter } = await startMachine(${JSON.stringify(NAME)}, process.env);
    const [nsenter, ...args] = enter(${JSON.stringify(['sh', '-c', `touch /var/lib/old; ${SLEEP.join(' ')}`])});
    spawn(nsenter, args);`;
  const starter = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'inherit' });
  await until('it sleeps', 30, sleepers, ({ length }) => length === 1);
  starter.kill('SIGKILL');
  await once(starter, 'exit');
  await until('nobody sleeps', 30, sleepers, ({ length }) => length === 0);

  const machine = await start();
  t.after(async () => {
    await machine.stop();
    await machine.remove();
  });
  assert.equal(await say(machine, 'ls', '/var/lib'), '');
});
