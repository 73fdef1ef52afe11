import { ERRORS } from '../../src/errors.ts';
import { code, type Page, table } from './markdown.ts';

interface Row {
  readonly status?: number;
  readonly message: string;
  readonly remedy: string;
}

export function errorsPage(): Page {
  const rows = Object.entries<Row>(ERRORS).map(([name, { status, message, remedy }]) => ({
    status,
    cells: [code(name), withValues(message), withLinks(remedy)],
  }));
  const answers = rows.flatMap(({ status, cells: [name = '', ...rest] }) =>
    status === undefined ? [] : [[name, String(status), ...rest]],
  );
  const others = rows.filter(({ status }) => status === undefined).map(({ cells }) => cells);
  return {
    title: 'Errors',
    purpose:
      'Find an error code of Pullgate here, from a log line (field `code`), an answer of the admission endpoint, or the message of a process that has stopped.',
    sources: ['src/errors.ts'],
    body: [
      `\`\`\`sh\nkubectl -n pullgate logs -l app.kubernetes.io/component=gate --tail=-1 --prefix | grep '"code":"PG_'\n\`\`\``,
      '## Answers of the admission endpoint',
      'Only the API server receives these. What happens to the update depends on the [failurePolicy](../operate.md#what-failurepolicy-does).',
      table(['Code', 'HTTP status', 'Message', 'What to do'], answers),
      '## Other errors',
      table(['Code', 'Message', 'What to do'], others),
    ],
  };
}

/** `{name}` in a message is a value. */
function withValues(message: string): string {
  return message.replace(/\{(\w+)\}/g, '<$1>');
}

function withLinks(text: string): string {
  return text.replace(/\bdocs\/([\w-]+\.md)/g, '[$1](../$1)');
}
