import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { HUB_ADDRESS, HUB_NETNS, REGISTRY_HOSTS, registryAddress } from './addresses.ts';
import { run } from './command.ts';
import { LabError } from './errors.ts';
import type { Ground } from './ground.ts';
import { inNetns } from './namespaces.ts';
import { PRIVATE_CREDENTIALS } from './registry.ts';

export interface ImageSpec {
  repository: string;
  tag: string;
  registry?: 'registry' | 'private';
  /**
   * `busybox`: all of busybox with a shell; `scratch`: one static program that waits for a signal, and
   * nothing else.
   */
  base: 'busybox' | 'scratch';
  /** Weight: an incompressible, uncompressed layer of its own, another one for each repository and tag. */
  megabytes?: number;
  entrypoint?: string[];
  env?: Record<string, string>;
}

export const PAUSE: ImageSpec = { repository: 'pause', tag: '1', base: 'scratch' };
export const PAUSE_IMAGE = `${registryAddress('registry')}/${PAUSE.repository}:${PAUSE.tag}`;

const ENTRYPOINTS = {
  // The first process of a container has no default reaction to SIGTERM: without the trap it takes 30 s to
  // end.
  busybox: ['/bin/sh', '-c', 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done'],
  scratch: ['/wait'],
};

/** What push-image.ts gets on its stdin. */
export interface PushOrder {
  /** http://address:port as seen from inside the hub. */
  url: string;
  repository: string;
  tag: string;
  /** Decides whether an image of that name is the wanted one already. */
  fingerprint: string;
  program: { file: string; name: string; applets: boolean };
  megabytes: number;
  entrypoint: string[];
  env: Record<string, string>;
  architecture: string;
  credentials?: { username: string; password: string };
}

const NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

export function reference(spec: ImageSpec): string {
  return `${registryAddress(spec.registry ?? 'registry')}/${spec.repository}:${spec.tag}`;
}

function pushOrder(ground: Ground, spec: ImageSpec): PushOrder {
  if (!NAME.test(spec.repository) || !TAG.test(spec.tag)) {
    throw new LabError(`not an image name: ${spec.repository}:${spec.tag}`);
  }
  const { registry = 'registry', base } = spec;
  const content = {
    program:
      base === 'busybox'
        ? { file: join(ground.tools.root, 'bin/busybox'), name: 'bin/busybox', applets: true }
        : { file: ground.waitProgram, name: 'wait', applets: false },
    megabytes: spec.megabytes ?? 0,
    entrypoint: spec.entrypoint ?? ENTRYPOINTS[base],
    env: spec.env ?? {},
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
  };
  return {
    url: `http://${HUB_ADDRESS}:${REGISTRY_HOSTS[registry].port}`,
    repository: spec.repository,
    tag: spec.tag,
    fingerprint: createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16),
    ...content,
    ...(registry === 'private' ? { credentials: PRIVATE_CREDENTIALS } : {}),
  };
}

/** The registries listen inside the hub only, so the pushing is done by a process in there. */
export async function pushImage(ground: Ground, spec: ImageSpec): Promise<string> {
  const order = pushOrder(ground, spec);
  const program = join(import.meta.dirname, 'push-image.ts');
  await run([...inNetns(HUB_NETNS), process.execPath, program], {
    input: JSON.stringify(order),
    env: { PATH: process.env['PATH'] ?? '' },
    timeoutSeconds: 300,
  });
  return reference(spec);
}
