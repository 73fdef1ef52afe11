/** Keys by a group that they belong to. A group without keys takes no memory. */
export interface KeyGroups {
  add(group: string, key: string): void;
  delete(group: string, key: string): void;
  of(group: string): Iterable<string>;
}

export function createKeyGroups(): KeyGroups {
  const groups = new Map<string, Set<string>>();
  return {
    add(group, key) {
      const keys = groups.get(group);
      if (keys === undefined) groups.set(group, new Set([key]));
      else keys.add(key);
    },
    delete(group, key) {
      const keys = groups.get(group);
      if (keys?.delete(key) === true && keys.size === 0) groups.delete(group);
    },
    of: (group) => groups.get(group) ?? [],
  };
}
