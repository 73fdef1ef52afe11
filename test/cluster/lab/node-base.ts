import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Buildah } from './buildah.ts';
import { run } from './command.ts';
import { npm } from './npm.ts';
import { unpackInto } from './packages.ts';

const CHECKOUT = join(import.meta.dirname, '../../..');
/** What npm has installed for this checkout: Node's own binary. */
const NODE = join(CHECKOUT, 'node_modules/node');
/** The image's own: the package `node` brings none. */
const NPM = 'npm@11.19.1';
/** What Node's binary is linked against, and a shell for RUN lines. Versions: those of Debian 12. */
const PACKAGES = ['base-files', 'busybox-static', 'libc6', 'libgcc-s1', 'libstdc++6'];
/** What a slim image leaves out, too. */
const LEFT_OUT = ['usr/share/doc', 'usr/share/locale', 'usr/share/man', 'usr/lib/x86_64-linux-gnu/gconv'];
/** To be raised whenever the base is made in another way. */
const RECIPE = 1;

/**
 * The name of an image like node:24-slim: Debian's packages, the Node of this checkout, and npm. Made once, in buildah's
 * store.
 */
export async function nodeBase(
  cache: string,
  buildah: Buildah,
  log: (line: string) => void,
): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(NODE, 'package.json'), 'utf8')) as { version: string };
  const content = JSON.stringify([RECIPE, NPM, PACKAGES, LEFT_OUT]);
  const key = createHash('sha256').update(content).digest('hex').slice(0, 8);
  const name = `localhost/node:${version}-${key}`;
  if (await buildah.has(name)) return name;

  log(`making a base image: Node ${version} on Debian's packages`);
  const work = join(cache, 'build-node-base');
  const root = join(work, 'root');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  await unpackInto(root, cache, log, async () => PACKAGES);
  for (const path of LEFT_OUT) rmSync(join(root, path), { recursive: true, force: true });
  linkApplets(root);
  mkdirSync(join(root, 'root'), { recursive: true });
  // In a real one by a maintainer script. Without it nobody has a home folder, and npm no settings.
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  copyFileSync(join(NODE, 'bin/node'), join(root, 'usr/local/bin/node'));
  await addNpm(root, work);
  const file = join(work, 'Dockerfile');
  writeFileSync(file, 'FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n');
  await buildah.run(['bud', '--file', file, '--tag', name, root], { timeoutSeconds: 300 });
  rmSync(work, { recursive: true });
  return name;
}

/** `sh`, and `env` for the first line of npm's scripts. */
function linkApplets(root: string): void {
  const busybox = join(root, 'bin/busybox');
  for (const applet of execFileSync(busybox, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean)) {
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  }
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  symlinkSync('../../bin/busybox', join(root, 'usr/bin/env'));
}

async function addNpm(root: string, work: string): Promise<void> {
  const { stdout } = await npm(['pack', '--silent', '--pack-destination', work, NPM]);
  const modules = join(root, 'usr/local/lib/node_modules');
  mkdirSync(modules, { recursive: true });
  await run(['tar', '--extract', '--no-same-owner', '-C', modules, '-f', join(work, stdout.trim())]);
  await run(['mv', join(modules, 'package'), join(modules, 'npm')]);
  for (const [name, file] of [
    ['npm', 'npm-cli.js'],
    ['npx', 'npx-cli.js'],
  ] as const) {
    symlinkSync(`../lib/node_modules/npm/bin/${file}`, join(root, 'usr/local/bin', name));
  }
}
