/**
 * Main, updates and security of Debian 12; what else a machine has configured is none of the lab's
 * business.
 */
const SUITE = /^bookworm(-updates|-security|\/updates)?$/;

/**
 * The machine's own Debian entries, each for binary and source packages, in the formats they came in.
 * Whatever else the entries say (mirror, keyring, options) is kept as it is.
 */
export function withSources(files: { name: string; text: string }[]): { name: string; text: string }[] {
  return files
    .map(({ name, text }) => ({ name, text: name.endsWith('.list') ? oneLine(text) : deb822(text) }))
    .filter(({ text }) => text !== '');
}

function oneLine(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => {
      const match = /^\s*deb(\s+\[[^\]]*\])?\s+(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
      const [, options = '', uri, suite = '', components = ''] = match ?? [];
      if (!SUITE.test(suite) || !components.split(/\s+/).includes('main') || uri?.startsWith('cdrom:')) {
        return [];
      }
      return ['deb', 'deb-src'].map((type) => `${type}${options} ${uri} ${suite} main\n`);
    })
    .join('');
}

function deb822(text: string): string {
  return text
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      const lines = stanza.split('\n').filter((line) => !line.startsWith('#') && line.trim() !== '');
      const words = (field: string) => fieldOf(lines, field).split(/\s+/).filter(Boolean);
      const suites = words('Suites').filter((suite) => SUITE.test(suite));
      const wanted = words('Types').includes('deb') && words('Components').includes('main');
      if (!wanted || suites.length === 0 || fieldOf(lines, 'Enabled') === 'no') {
        return [];
      }
      const changed = { Types: 'deb deb-src', Suites: suites.join(' '), Components: 'main' };
      return [`${lines.map((line) => replaceField(line, changed)).join('\n')}\n`];
    })
    .join('\n');
}

function fieldOf(lines: string[], field: string): string {
  const prefix = `${field.toLowerCase()}:`;
  const line = lines.find((candidate) => candidate.toLowerCase().startsWith(prefix));
  return line?.slice(prefix.length).trim() ?? '';
}

function replaceField(line: string, changed: Record<string, string>): string {
  for (const [field, value] of Object.entries(changed)) {
    if (line.toLowerCase().startsWith(`${field.toLowerCase()}:`)) {
      return `${field}: ${value}`;
    }
  }
  return line;
}
