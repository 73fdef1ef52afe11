import assert from 'node:assert/strict';
import type { Lab } from '../../cluster/lab/lab.ts';

export async function assertOnEveryNode(lab: Lab, image: string): Promise<void> {
  for (const node of lab.nodes()) {
    assert.ok((await lab.nodeImages(node)).includes(image), `${node} has ${image}`);
  }
}
