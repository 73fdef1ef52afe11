import { createHash } from 'node:crypto';
import {
  closeSync,
  globSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { HUB_ADDRESS, REGISTRY_HOSTS } from './addresses.ts';
import { type Buildah, buildahIn } from './buildah.ts';
import { LabError } from './errors.ts';
import { CURRENT, type GateSource } from './gate-source.ts';
import type { Lab } from './lab.ts';
import { withLock } from './lock.ts';
import { nodeBase } from './node-base.ts';
import { npm } from './npm.ts';
import { cacheFolder } from './paths.ts';

/** What the Dockerfile copies, and itself: an image of the same content is not built again. */
const CONTENT = [
  'Dockerfile',
  '.dockerignore',
  '.npmrc',
  'LICENSE',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'src/**',
  'deploy/**',
];

/** Builds the gate's image as the Dockerfile says, and pushes it to the lab's registry. Returns what a pod names. */
export async function buildGateImage(
  lab: Pick<Lab, 'enter' | 'registry'>,
  log: (line: string) => void = () => {},
  source = CURRENT,
): Promise<string> {
  const cache = cacheFolder();
  return await withLock(log, async () => {
    const buildah = await buildahIn(cache, log);
    const { image, tag } = await builtImage(source, cache, buildah, log);
    // The registry's name is known to the nodes' containerd alone; it listens inside the hub.
    const target = `docker://${HUB_ADDRESS}:${REGISTRY_HOSTS.registry.port}/${source.repository}:${tag}`;
    await buildah.run(['push', '--tls-verify=false', image, target], {
      enter: lab.enter,
      timeoutSeconds: 300,
    });
    return `${lab.registry}/${source.repository}:${tag}`;
  });
}

/** Builds it without pushing it anywhere: a lab in a machine without a way out can only push it. */
export async function storeGateImage(source: GateSource, log: (line: string) => void): Promise<void> {
  const cache = cacheFolder();
  await withLock(log, async () => {
    await builtImage(source, cache, await buildahIn(cache, log), log);
  });
}

/** The image in buildah's store; `tag` is of its content. The caller holds the lock. */
async function builtImage(
  { folder, repository }: GateSource,
  cache: string,
  buildah: Buildah,
  log: (line: string) => void,
): Promise<{ image: string; tag: string }> {
  const base = await nodeBase(cache, buildah, log);
  const tag = contentTag(folder, base);
  const image = `localhost/${repository}:${tag}`;
  if (await buildah.has(image)) return { image, tag };

  log(`building the image of the gate (${repository})`);
  const work = join(cache, 'build-gate-image');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const npmrc = join(work, 'npmrc');
  const { text, certificates } = await npmSettings();
  writeFileSync(npmrc, text);
  const file = certificates === undefined ? [] : ['--volume', `${certificates}:${certificates}:ro`];
  const journal = join(work, 'build.log');
  const sink = openSync(journal, 'w');
  const building = buildah.run(
    [
      'bud',
      `--build-arg=NODE_IMAGE=${base}`,
      `--secret=id=npmrc,src=${npmrc}`,
      ...file,
      `--tag=${image}`,
      folder,
    ],
    { timeoutSeconds: 600, logTo: sink },
  );
  await building
    .catch(() => {
      const tail = readFileSync(journal, 'utf8').trim().split('\n').slice(-15).join('\n');
      throw new LabError(`building the image of the gate failed; the end of ${journal}:\n${tail}`);
    })
    .finally(() => closeSync(sink));
  rmSync(work, { recursive: true });
  await removeOthers(buildah, repository, image);
  return { image, tag };
}

/** 250 MB each, and every change of the source makes one. */
async function removeOthers(buildah: Buildah, repository: string, image: string): Promise<void> {
  const { stdout } = await buildah.run(['images', '--format', '{{.Name}}:{{.Tag}}']);
  const ours = stdout.split('\n').filter((name) => name.startsWith(`localhost/${repository}:`));
  for (const other of ours.filter((name) => name !== image)) await buildah.run(['rmi', other]);
}

function contentTag(folder: string, base: string): string {
  const hash = createHash('sha256').update(base);
  const paths = CONTENT.flatMap((pattern) => globSync(pattern, { cwd: folder })).toSorted();
  for (const path of paths) {
    const full = join(folder, path);
    if (statSync(full).isFile()) hash.update(`\0${path}\0`).update(readFileSync(full));
  }
  return hash.digest('hex').slice(0, 12);
}

/** How npm reaches its registry from this machine. Credentials are not passed on. */
async function npmSettings(): Promise<{ text: string; certificates: string | undefined }> {
  const keys = ['registry', 'cafile', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl'];
  const { stdout } = await npm(['config', 'get', ...keys]);
  const lines = stdout
    .split('\n')
    .filter((line) => /^[a-z-]+=/.test(line) && !/=(null|undefined)?$/.test(line));
  const certificates = lines.find((line) => line.startsWith('cafile='))?.slice('cafile='.length);
  return { text: `${lines.join('\n')}\n`, certificates };
}
