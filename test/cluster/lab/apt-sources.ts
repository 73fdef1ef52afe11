/**
 * Main, updates and security of Debian 12; what else a machine has configured is none of the lab's
 * business.
 */
const SUITE = /^bookworm(-updates|-security|\/updates)?$/;
const RELEASE = 'bookworm';
const BACKPORTS = 'bookworm-backports';

interface SourceFile {
  name: string;
  text: string;
}

/**
 * The machine's own Debian entries, each for binary and source packages, in the formats they came in.
 * Whatever else the entries say (mirror, keyring, options) is kept as it is. With `backports`, the suite is the backports
 * of Debian 12 instead, whether the machine uses them or not.
 */
export function withSources(files: SourceFile[], backports = false): SourceFile[] {
  const suitesOf = (suites: string[]) =>
    backports
      ? suites.filter((suite) => suite === RELEASE).map(() => BACKPORTS)
      : suites.filter((suite) => SUITE.test(suite));
  return files
    .map(({ name, text }) => ({
      name,
      text: name.endsWith('.list') ? oneLine(text, suitesOf) : deb822(text, suitesOf),
    }))
    .filter(({ text }) => text !== '');
}

type SuitesOf = (suites: string[]) => string[];

function oneLine(text: string, suitesOf: SuitesOf): string {
  return text
    .split('\n')
    .flatMap((line) => {
      const match = /^\s*deb(\s+\[[^\]]*\])?\s+(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
      const [, options = '', uri, suite = '', components = ''] = match ?? [];
      const [wanted] = suitesOf([suite]);
      if (wanted === undefined || !components.split(/\s+/).includes('main') || uri?.startsWith('cdrom:')) {
        return [];
      }
      return ['deb', 'deb-src'].map((type) => `${type}${options} ${uri} ${wanted} main\n`);
    })
    .join('');
}

function deb822(text: string, suitesOf: SuitesOf): string {
  return text
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      const lines = stanza.split('\n').filter((line) => !line.startsWith('#') && line.trim() !== '');
      const words = (field: string) => fieldOf(lines, field).split(/\s+/).filter(Boolean);
      const suites = suitesOf(words('Suites'));
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
