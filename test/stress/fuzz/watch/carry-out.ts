import type { ApiServer } from './api-server.ts';
import type { Operation } from './operation.ts';
import type { Objects } from './stored-objects.ts';

/** Makes it happen in the API server. */
export function apply(operation: Operation, objects: Objects, server: ApiServer): void {
  const { kind } = operation;
  switch (operation.does) {
    case 'put':
      objects.put(kind, operation.namespace, operation.name, operation.text);
      break;
    case 'remove':
      objects.remove(kind, operation.namespace, operation.name);
      break;
    case 'say':
      server.say(kind, operation.type, operation.text);
      break;
    case 'cut':
      server.cut(kind, operation.midLine);
      break;
    case 'compact':
      objects.compact(kind);
      server.cut(kind, false);
      break;
    case 'nextList':
      objects.compact(kind);
      server.nextList(kind, operation.text);
      server.cut(kind, false);
      break;
    case 'nextWatch':
      server.nextWatch(kind, operation.type, operation.text);
      server.cut(kind, false);
      break;
  }
}
