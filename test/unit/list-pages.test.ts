import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient } from '../../src/cluster/api-client.ts';
import { listPages } from '../../src/cluster/list-pages.ts';
import { asString, at } from '../../src/json.ts';
import { collectMemory } from '../support/unit/retained-bytes.ts';

test('nothing of a page is kept while the next one is read', async () => {
  const pages: WeakRef<object>[] = [];
  const kept: number[] = [];
  const client: Pick<ApiClient, 'get'> = {
    async get(_path, query, options) {
      await new Promise((resolve) => setImmediate(resolve));
      collectMemory();
      kept.push(pages.filter((page) => page.deref() !== undefined).length);
      const page = {
        items: [{ metadata: { name: `thing-${pages.length}` } }],
        metadata: { resourceVersion: '1', continue: pages.length < 5 ? `${query?.['continue']}+` : '' },
      };
      pages.push(new WeakRef(page));
      options?.onBytes?.(1000);
      return page;
    },
  };
  const names: string[] = [];
  const version = await listPages(client, '/things', {
    onPage: (items) => void names.push(...items.map((item) => asString(at(item, 'metadata', 'name')) ?? '')),
  });
  assert.equal(version, '1');
  assert.equal(names.length, 6);
  assert.deepEqual(kept, [0, 0, 0, 0, 0, 0]);
});
