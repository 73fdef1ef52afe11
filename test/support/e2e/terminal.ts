import { delimiter, dirname } from 'node:path';
import { type CommandResult, run } from '../../cluster/lab/command.ts';
import { readGround } from '../../cluster/lab/ground.ts';
import type { Lab } from '../../cluster/lab/lab.ts';

/** As a user with the cluster's kubeconfig would paste it into a terminal; fails unless it ends with 0. */
export function paste(lab: Lab, text: string): Promise<CommandResult> {
  const folders = [process.env['PATH'], readGround()?.tools.env['PATH']];
  return run(['sh', '-c', text], {
    env: {
      PATH: folders.filter((folder) => folder !== undefined).join(delimiter),
      KUBECONFIG: lab.kubeconfig,
      // Else kubectl makes its cache in the folder where the tests run.
      HOME: dirname(lab.kubeconfig),
    },
    timeoutSeconds: 60,
  });
}
