import assert from 'node:assert/strict';
import type { Option } from 'commander';
import { SETTINGS } from '../../src/api/settings.ts';
import { command } from '../../src/config.ts';
import { code, type Page, sentence, table } from './markdown.ts';

const settings = Object.values(SETTINGS);

export function settingsPage(): Page {
  const flags = command().options.filter(({ long }) => long !== '--version');
  const without = settings.filter(({ flag }) => flag === undefined);
  return {
    title: 'Settings',
    purpose: 'Find a flag of Pullgate, or an annotation that overrides it for one Deployment.',
    sources: ['src/config.ts', 'src/api/settings.ts'],
    body: [
      'See [settings](../settings.md) for when an annotation takes effect. Except for `--kubeconfig` and `--context`, each flag can also be set by an environment variable: `--min-nodes` by `PULLGATE_MIN_NODES`.',
      '## Flags',
      table(['Flag', 'Default', 'Values', 'Annotation', 'Meaning'], flags.map(flagRow)),
      '## Annotations without a flag',
      table(
        ['Annotation', 'Values', 'Meaning'],
        without.map(({ annotation, range, help }) => [
          code(annotation),
          sentence(range.allowed),
          sentence(help),
        ]),
      ),
    ],
  };
}

function flagRow(option: Option): string[] {
  const annotation = settings.find(({ flag }) => flag === option.long)?.annotation;
  const [, meaning = '', byText] = /^(.*?)(?: \(default: (.*)\))?$/.exec(option.description) ?? [];
  const byValue = option.defaultValueDescription ?? (option.defaultValue as string | number | undefined);
  const fallback = byText ?? (byValue === undefined ? '' : code(String(byValue)));
  return [
    code(option.long ?? ''),
    fallback,
    valuesOf(option),
    annotation === undefined ? '' : code(annotation),
    sentence(meaning),
  ];
}

/** What the flag's own parser says of a value that it refuses. */
function valuesOf({ argChoices, flags, parseArg }: Option): string {
  if (argChoices !== undefined) return argChoices.map(code).join(', ');
  if (parseArg === undefined) return /<(\w+)>/.exec(flags)?.[1] ?? '';
  let text = '';
  assert.throws(
    () => parseArg('', undefined),
    ({ message }: Error) => {
      text = message;
      return true;
    },
  );
  return text.replace(/^It must be |\.$/g, '');
}
