import { nodeAddress } from '../../cluster/lab/addresses.ts';
import { run } from '../../cluster/lab/command.ts';
import { readGround } from '../../cluster/lab/ground.ts';
import type { Lab } from '../../cluster/lab/lab.ts';
import { nodeFolder } from '../../cluster/lab/node.ts';

/** Room for the gate's own image, should a replica come to this node, and for those of one fault. */
const MEGABYTES = 400;
/**
 * A file system of its own, in memory, for what the containerd of a fresh node downloads. Only for that: the kubelet, which looks at where
 * containers are unpacked, knows nothing of it, and does not make the node leave by a taint before containerd itself fails.
 */
export async function mountContentStore(lab: Lab, node: string): Promise<void> {
  const folder = contentStore(node);
  // With what is there already: a pod may have come before, and without the blobs of the pause image no other would start.
  const script = `set -e
new=$(mktemp -d)
mount -t tmpfs -o size=${MEGABYTES}m,mode=755 tmpfs "$new"
cp -a '${folder}/.' "$new"
mkdir -p "$new/ingest"
mount --bind "$new" '${folder}'
umount "$new"
rmdir "$new"`;
  await shell(lab, node, script);
}

/** Until the returned function is called. */
export async function fillDisk(lab: Lab, node: string): Promise<() => Promise<void>> {
  const folder = contentStore(node);
  const ballast = `${folder}/ballast`;
  // To the last byte, however much of it a pull takes meanwhile: that it fails is what is wanted.
  await shell(lab, node, `! cat /dev/zero >'${ballast}'`);
  return () => shell(lab, node, `rm -f '${ballast}'`);
}

function contentStore(node: string): string {
  return nodeFolder(nodeAddress(node), 'containerd', 'io.containerd.content.v1.content');
}

async function shell(lab: Lab, node: string, script: string): Promise<void> {
  await run(lab.enterNode(node, ['sh', '-c', script]), { env: readGround()?.tools.env ?? {} });
}
