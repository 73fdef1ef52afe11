import { EVENT_REASONS } from '../../src/cluster/event-reasons.ts';
import { code, type Page, table } from './markdown.ts';

export function eventsPage(): Page {
  return {
    title: 'Events',
    purpose: 'Find what an Event of Pullgate means and what to do about it.',
    sources: ['src/cluster/event-reasons.ts'],
    body: [
      'An Event is about the Deployment unless its row names another object. Events of an ImagePreload that you created yourself are about that ImagePreload. See [operation](../operate.md#events) for how to list them.',
      table(
        ['Reason', 'Type', 'When', 'What to do'],
        Object.entries(EVENT_REASONS).map(([reason, { types, when, remedy }]) => [
          code(reason),
          types.join(' or '),
          when,
          remedy,
        ]),
      ),
    ],
  };
}
