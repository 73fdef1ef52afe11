import { asString, at, type JsonObject, MAX_DEPTH, nestsDeeperThan } from '../json.ts';

/** Takes the place of an object that nests deeper than `MAX_DEPTH`. It says which one it is, and nothing else. */
export class TooDeepObject {
  readonly metadata: JsonObject;

  constructor(raw: unknown) {
    const names = ['name', 'namespace', 'uid', 'resourceVersion'].flatMap((name) => {
      const value = asString(at(raw, 'metadata', name));
      return value === undefined ? [] : [[name, value]];
    });
    this.metadata = Object.fromEntries(names);
  }
}

/**
 * Returns the value that V8 has read from the text, without objects that nest too deep for a recursive walk. In a list or a watch event a
 * `TooDeepObject` takes their place. Returns undefined if the value is itself such an object.
 */
export function bounded(text: string, value: unknown): unknown {
  // Nearly all values end here. The scan takes an eighth of the time of the parsing, whatever shapes the objects have.
  if (!isTextDeeperThan(MAX_DEPTH, text)) return value;
  const items = at(value, 'items');
  if (Array.isArray(items)) return { metadata: at(value, 'metadata'), items: items.map(orTooDeep) };
  const object = at(value, 'object');
  return object === undefined ? undefined : { type: at(value, 'type'), object: orTooDeep(object) };
}

function orTooDeep(object: unknown): unknown {
  return nestsDeeperThan(MAX_DEPTH, object) ? new TooDeepObject(object) : object;
}

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_MAP, CLOSE_MAP] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

function isTextDeeperThan(limit: number, text: string): boolean {
  let depth = 0;
  let isQuoted = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) isQuoted = !isQuoted;
    else if (isQuoted) index += Number(code === BACKSLASH);
    else if (code === OPEN_LIST || code === OPEN_MAP) depth += 1;
    else if (code === CLOSE_LIST || code === CLOSE_MAP) depth -= 1;
    if (depth > limit) return true;
  }
  return false;
}
