// V8 on 64 bits, without pointer compression. A string has a header of 16 bytes and ends at a multiple of 8. An object has 24 bytes
// and room for 4 fields of 8 bytes. A name that no other object has in that place costs a description of its own (a Map, 80 bytes);
// names that all objects share cost nothing, but which ones those are cannot be told. A list has 48 bytes and 8 for each entry,
// and grows by half.
const STRING_BYTES = 24;
const OBJECT_BYTES = 56;
const FIELD_BYTES = 80;
const LIST_BYTES = 48;
const ENTRY_BYTES = 12;
const NUMBER_BYTES = 16;

/**
 * Returns the bytes of memory that a JSON value takes. The count is on the safe side, and stops as soon as it exceeds the limit.
 */
export function weightUpTo(limit: number, value: unknown): number {
  let bytes = 0;
  // A list rather than recursion: values may nest as deep as they like.
  const open: unknown[] = [value];
  while (open.length > 0 && bytes <= limit) {
    const next = open.pop();
    bytes += ownWeight(next);
    if (bytes > limit || typeof next !== 'object' || next === null) continue;
    if (Array.isArray(next)) for (const entry of next) open.push(entry);
    else for (const field of Object.entries(next)) open.push(...field);
  }
  return bytes;
}

/** Returns whether a JSON value takes more than `limit` bytes of memory, on the safe side. */
export function weighsMoreThan(limit: number, value: unknown): boolean {
  return weightUpTo(limit, value) > limit;
}

/** Returns the memory of the value itself, without its entries. */
function ownWeight(value: unknown): number {
  if (typeof value === 'string') return weightOfText(value);
  if (Array.isArray(value)) return LIST_BYTES + value.length * ENTRY_BYTES;
  if (typeof value !== 'object' || value === null) return NUMBER_BYTES;
  return OBJECT_BYTES + Object.keys(value).length * FIELD_BYTES;
}

function weightOfText(text: string): number {
  // Beyond Latin-1 each character takes two bytes.
  return STRING_BYTES + (/[\u0100-\uffff]/.test(text) ? 2 * text.length : text.length);
}
