import { delimiter, join } from 'node:path';
import { type CommandResult, run } from './command.ts';

const CHECKOUT = join(import.meta.dirname, '../../..');

/**
 * The machine's npm, with the machine's settings: npm finds its global ones beside the `node` that it runs on, and tells the
 * scripts that it runs where that was.
 */
export function npm(args: readonly string[]): Promise<CommandResult> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const machine = folders.filter((folder) => !folder.endsWith('node_modules/.bin')).join(delimiter);
  const { npm_config_prefix: _, npm_config_globalconfig: __, ...settings } = process.env;
  return run(['npm', ...args], {
    cwd: CHECKOUT,
    env: { ...settings, PATH: machine },
    timeoutSeconds: 120,
  });
}
