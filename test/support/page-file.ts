import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Two programs write docs/faults.md: `test:faults` what is above this line, `test:soak` what is below. */
const MEMORY = '\n## Memory\n';
const PAGE = fileURLToPath(new URL('../../docs/faults.md', import.meta.url));

/** Leaves the other's part of a page as it is. */
export function replaced(page: string, part: 'faults' | 'memory', text: string): string {
  const at = page.indexOf(MEMORY);
  const [faults, memory] = at < 0 ? [page, ''] : [page.slice(0, at), page.slice(at)];
  return part === 'faults'
    ? `${text.trimEnd()}\n${memory}`
    : `${faults.trimEnd()}\n${MEMORY}\n${text.trimEnd()}\n`;
}

export function writePage(part: 'faults' | 'memory', text: string): void {
  writeFileSync(PAGE, replaced(existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '', part, text));
}
