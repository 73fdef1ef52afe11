import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { run } from './command.ts';
import { LabError } from './errors.ts';
import { FALLBACK_BUILD_PACKAGES, PrivateApt, type Tools, unpacked } from './packages.ts';

/** What Debian 12 has the source of. It is the fallback where no Go modules can be fetched. */
const BUILT_VERSION = '1.20.2';

/**
 * To be raised whenever the way of building changes: caches built the old way are then not used any more.
 */
const RECIPE = 1;

/** A build took 3:50 to 5 minutes on 2 cores. */
const BUILD_MINUTES = 5;

const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'];

export function fallbackFolder(cache: string): string {
  return join(cache, `kubernetes-${BUILT_VERSION}-${RECIPE}`);
}

/** The folder of the fallback's programs. Builds them from Debian's source package if the cache lacks them. */
export async function fallbackPrograms(cache: string, log: (line: string) => void): Promise<string> {
  const result = fallbackFolder(cache);
  if (existsSync(result)) {
    return result;
  }
  const toolchain = await unpacked(cache, 'toolchain', FALLBACK_BUILD_PACKAGES, log);
  const work = join(cache, 'build');
  rmSync(work, { recursive: true, force: true });
  const apt = new PrivateApt(join(cache, 'apt'));
  await apt.prepare(log);
  log('downloading the Kubernetes source package (34 MB)');
  await apt.downloadSource('kubernetes', work).catch(async () => {
    await apt.prepare(log, true);
    await apt.downloadSource('kubernetes', work);
  });
  const tarball = readdirSync(work).find((name) => name.endsWith('.orig.tar.gz'));
  if (!tarball?.includes(BUILT_VERSION)) {
    throw new LabError(`Debian's source package is ${tarball}, not Kubernetes ${BUILT_VERSION}`);
  }
  const source = join(work, 'source');
  mkdirSync(source);
  await run(['tar', '--extract', '--strip-components=1', '-C', source, '-f', join(work, tarball)]);
  replaceReflect2(source, toolchain);
  await build(source, toolchain, log);
  const partial = `${result}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial);
  for (const binary of PROGRAMS) {
    copyFileSync(join(source, '_output/local/go/bin', binary), join(partial, binary));
  }
  renameSync(partial, result);
  rmSync(work, { recursive: true, force: true });
  removeToolchain(cache);
  return result;
}

/**
 * The vendored reflect2 1.0.1 reads Go's internal map layout, which changed in Go 1.18: an API server built
 * with it dies on `?pretty=true` (curl asks for that by itself) and on `Accept: application/yaml`. 1.0.2
 * does not.
 */
function replaceReflect2(source: string, toolchain: Tools): void {
  const library = 'github.com/modern-go/reflect2';
  const vendored = join(source, 'vendor', library);
  rmSync(vendored, { recursive: true });
  cpSync(join(toolchain.root, 'usr/share/gocode/src', library), vendored, { recursive: true });
}

async function build(source: string, toolchain: Tools, log: (line: string) => void): Promise<void> {
  mkdirSync(join(source, '.go/src/k8s.io'), { recursive: true });
  symlinkSync('../../..', join(source, '.go/src/k8s.io/kubernetes'));
  const began = performance.now();
  const progress = setInterval(() => {
    const seconds = Math.round((performance.now() - began) / 1000);
    log(`building Kubernetes: ${seconds} s of about ${BUILD_MINUTES * 60} (on 2 cores)`);
  }, 15_000);
  log(`building Kubernetes ${BUILT_VERSION}: about ${BUILD_MINUTES} minutes, once on this machine`);
  const logPath = join(source, '..', 'make.log');
  const sink = openSync(logPath, 'w');
  try {
    await run(['make', `WHAT=${PROGRAMS.map((name) => `cmd/${name}`).join(' ')}`, 'GOLDFLAGS=-s -w'], {
      cwd: source,
      env: goEnvironment(toolchain, source),
      logTo: sink,
    });
  } catch {
    const tail = readFileSync(logPath, 'utf8').trim().split('\n').slice(-15).join('\n');
    throw new LabError(`building Kubernetes failed; the end of ${logPath}:\n${tail}`);
  } finally {
    clearInterval(progress);
    closeSync(sink);
  }
}

function goEnvironment(toolchain: Tools, workspace: string): Record<string, string> {
  return {
    ...toolchain.env,
    GOROOT: join(toolchain.root, 'usr/lib/go-1.19'),
    GOPATH: join(workspace, '.go'),
    GOCACHE: join(workspace, '.go-cache'),
    GO111MODULE: 'off',
    CGO_ENABLED: '0',
  };
}

/** Removes 300 MB that nothing needs after the build. */
function removeToolchain(cache: string): void {
  for (const name of readdirSync(cache)) {
    if (name.startsWith('toolchain-')) rmSync(join(cache, name), { recursive: true, force: true });
  }
}
