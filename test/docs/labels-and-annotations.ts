import { OTHER_DECISIONS } from '../../src/admission/decision.ts';
import { RECORDED_DECISIONS } from '../../src/api/decision-record.ts';
import * as names from '../../src/api/names.ts';
import { SETTINGS } from '../../src/api/settings.ts';
import { rows } from './failures.ts';
import { code, type Page, sentence, table } from './markdown.ts';

const SETTING_MARKS = Object.values(SETTINGS).map(({ annotation, range, flag, help }) => ({
  name: annotation,
  kind: 'annotation',
  on: 'Deployment',
  writtenBy: 'you',
  values: range.allowed,
  meaning: `${sentence(help)}${flag === undefined ? '' : ` Overrides the flag ${code(flag)}.`}`,
}));

export function labelsAndAnnotationsPage(): Page {
  const marks = [...names.MARKS, ...SETTING_MARKS];
  assertComplete(marks.map(({ name }) => name));
  const section = (kind: string) =>
    table(
      ['Name', 'On', 'Written by', 'Values', 'Meaning'],
      marks
        .filter((mark) => mark.kind === kind)
        .map(({ name, on, writtenBy, values, meaning }) => [code(name), on, writtenBy, values, meaning]),
    );
  return {
    title: 'Labels and annotations',
    purpose: 'Find what a label, an annotation or a taint `pullgate.io/...` means and who writes it.',
    sources: [
      'src/api/names.ts',
      'src/api/settings.ts',
      'src/api/decision-record.ts',
      'src/admission/decision.ts',
    ],
    body: [
      '## Labels',
      section('label'),
      '## Annotations',
      'If somebody else writes an annotation that the webhook writes, the webhook restores the stored value.',
      section('annotation'),
      '## Taints',
      section('taint'),
      '## Decisions',
      'What the webhook decided about an update. The decision is in the log, in the audit log of the API server, and in the label `decision` of `pullgate_admissions_total`. The annotation `pullgate.io/decided` has the last one of the first table.',
      table(['Decision', 'Meaning'], rows(RECORDED_DECISIONS)),
      'These decisions leave the annotation as it is:',
      table(['Decision', 'Meaning'], rows(OTHER_DECISIONS)),
    ],
  };
}

/** A name without a row is one that nobody can look up. */
function assertComplete(documented: readonly string[]): void {
  for (const [constant, name] of Object.entries(names)) {
    if (!/_(LABEL|ANNOTATION|TAINT)$/.test(constant) || constant === 'REVISION_ANNOTATION') continue;
    if (!documented.includes(String(name)))
      throw new Error(`MARKS of src/api/names.ts has no row for ${constant}`);
  }
}
