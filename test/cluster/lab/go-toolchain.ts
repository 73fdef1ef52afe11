import { existsSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run } from './command.ts';
import { PrivateApt, unpackInto } from './packages.ts';

/** A go command, and the environment that it runs in. */
export interface Go {
  readonly command: string;
  readonly env: Record<string, string>;
}

/** From this minor version on, a go command fetches the version that a go.mod asks for. */
const OLDEST_MINOR = 21;

/** Debian 12's own Go is 1.19, and its backports have 1.23. Neither depends on another package to run. */
const DEBIAN_PACKAGES = ['golang-1.23-go', 'golang-1.23-src'];
const DEBIAN_ROOT = 'usr/lib/go-1.23';

/** The Go on PATH if it is new enough, otherwise Debian's, unpacked into the cache. */
export async function goToolchain(cache: string, log: (line: string) => void): Promise<Go> {
  const installed = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'go'))
    .find((path) => existsSync(path));
  if (installed !== undefined && (await minorVersion(installed)) >= OLDEST_MINOR) {
    return { command: installed, env: environment(cache) };
  }
  const goRoot = join(await debianGo(cache, log), DEBIAN_ROOT);
  return { command: join(goRoot, 'bin/go'), env: { ...environment(cache), GOROOT: goRoot } };
}

async function debianGo(cache: string, log: (line: string) => void): Promise<string> {
  const root = join(cache, 'go-1.23');
  if (existsSync(root)) return root;
  log("no Go 1.21 or later on PATH: downloading Debian's");
  const partial = `${root}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const apt = new PrivateApt(join(cache, 'apt-backports'), { backports: true });
  await unpackInto(partial, cache, log, async () => DEBIAN_PACKAGES, apt);
  renameSync(partial, root);
  return root;
}

async function minorVersion(go: string): Promise<number> {
  const env = { ...environment('/nonexistent'), GOTOOLCHAIN: 'local' };
  const { stdout } = await run([go, 'env', 'GOVERSION'], { env, allowFailure: true, timeoutSeconds: 10 });
  return Number(/^go1\.(\d+)/.exec(stdout)?.[1] ?? 0);
}

/**
 * The caller's own environment, because it says how to reach the module proxy (GOPROXY, GOFLAGS, HTTPS_PROXY and so on).
 * Both caches are the lab's, so that one folder holds everything there is to remove.
 */
function environment(cache: string): Record<string, string> {
  const own = Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return {
    ...Object.fromEntries(own),
    CGO_ENABLED: '0',
    GOCACHE: join(cache, 'go-build'),
    GOMODCACHE: join(cache, 'go-modules'),
    GOTOOLCHAIN: 'auto',
  };
}
