import assert from 'node:assert/strict';
import type { Namespace } from './namespace.ts';
import { paste } from './terminal.ts';

/** What a person sees of a Deployment with two commands and no flag but the namespace. */
export interface Explanation {
  /** `kubectl describe deploy` */
  readonly described: string;
  /** The Deployment's own line of `kubectl get ipl -A`, by column; undefined without an ImagePreload. */
  readonly listed: Readonly<Record<string, string>> | undefined;
}

export async function explanationOf(shop: Namespace, name = 'web'): Promise<Explanation> {
  const { stdout: described } = await shop.kubectl('describe', 'deploy', name);
  const { stdout, stderr, code } = await shop.lab.kubectl(['get', 'ipl', '-A']);
  assert.equal(code, 0, stderr);
  const [header = '', ...lines] = stdout.trimEnd().split('\n');
  const columns = header.split(/\s+/);
  // One column is a command's width apart from the next, and no value has a space.
  const rows = lines.map((line) => line.split(/\s+/));
  const row = rows.find(([namespace]) => namespace === shop.name);
  const listed = row && Object.fromEntries(columns.map((column, index) => [column, row[index] ?? '']));
  return { described, listed };
}

/** What the text says that can be pasted, each once. Commands end where the next thing is said. */
export function commandsIn(text: string): string[] {
  return [
    ...new Set([...text.matchAll(/kubectl (?:-n|get) [^;\n]*/g)].map(([command]) => command.trimEnd())),
  ];
}

/** Those that change something as a dry run on the server. */
export async function assertAllRun(shop: Namespace, commands: readonly string[]): Promise<void> {
  for (const command of commands) {
    const changes = / (annotate|set image|rollout resume) /.test(command);
    const { code, stdout, stderr } = await paste(shop.lab, changes ? `${command} --dry-run=server` : command);
    assert.equal(code, 0, `${command}: ${stderr}`);
    assert.notEqual(stdout.trim(), '', command);
  }
}
