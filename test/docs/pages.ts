import { errorsPage } from './errors.ts';
import { eventsPage } from './events.ts';
import { failuresPage } from './failures.ts';
import { imagePreloadPage } from './imagepreload.ts';
import { labelsAndAnnotationsPage } from './labels-and-annotations.ts';
import { type Page, pageText } from './markdown.ts';
import { metricsPage } from './metrics.ts';
import { settingsPage } from './settings.ts';

/** Returns the text of each page of docs/reference, by the name of its file. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  const pages: readonly (readonly [string, Page])[] = [
    ['errors.md', errorsPage()],
    ['events.md', eventsPage()],
    ['failures.md', failuresPage()],
    ['imagepreload.md', imagePreloadPage()],
    ['labels-and-annotations.md', labelsAndAnnotationsPage()],
    ['metrics.md', await metricsPage()],
    ['settings.md', settingsPage()],
  ];
  const index: Page = {
    title: 'Reference',
    purpose: 'Look up a code, a name or a field here.',
    sources: ['the other pages'],
    body: [pages.map(([name, { title, purpose }]) => `- [${title}](${name}): ${purpose}`).join('\n')],
  };
  return new Map([['README.md', index] as const, ...pages].map(([name, page]) => [name, pageText(page)]));
}
