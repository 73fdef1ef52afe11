import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, run } from './command.ts';
import { type Tools, unpacked } from './packages.ts';

/** Builds and pushes images without a container engine, in a store of its own. */
export interface Buildah {
  run(args: readonly string[], options?: BuildahOptions): Promise<CommandResult>;
  /** Whether the store has an image of that name. */
  has(image: string): Promise<boolean>;
}

interface BuildahOptions {
  timeoutSeconds?: number;
  /** Return a non-zero exit code instead of throwing. */
  allowFailure?: boolean;
  /** stdout and stderr go to this file descriptor instead of being collected. */
  logTo?: number;
  /** The same command elsewhere, such as in a network namespace. */
  enter?: (argv: string[]) => string[];
}

/** Debian 12: buildah 1.28.2. A running lab does not need it, so it is not among its packages. */
const PACKAGES = ['buildah'];
/** What asks whether an image may be had. */
const TRUSTING = ['bud', 'pull', 'push'];

/** Everything is below `cache`: the tool, its settings and its store. */
export async function buildahIn(cache: string, log: (line: string) => void): Promise<Buildah> {
  const tools = await unpacked(cache, 'image-tools', PACKAGES, log);
  const folder = join(cache, 'image-store');
  const policy = join(folder, 'policy.json');
  const registries = join(folder, 'registries.conf');
  const storage = join(folder, 'storage.conf');
  const libraries = join(folder, 'ld.so.cache');
  if (!existsSync(storage)) {
    mkdirSync(folder, { recursive: true });
    await writeLibraryCache(libraries, tools);
    writeFileSync(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
    writeFileSync(registries, 'unqualified-search-registries = []\n');
    const [root, running] = [join(folder, 'root'), join(folder, 'run')];
    // Overlays cannot be had everywhere, such as on top of another one.
    writeFileSync(
      storage,
      `[storage]\ndriver = "vfs"\ngraphroot = ${JSON.stringify(root)}\nrunroot = ${JSON.stringify(running)}\n`,
    );
  }
  const env = {
    ...tools.env,
    // Neither a runtime nor a user namespace is needed for that.
    BUILDAH_ISOLATION: 'chroot',
    CONTAINERS_REGISTRIES_CONF: registries,
    CONTAINERS_STORAGE_CONF: storage,
  };
  const buildah: Buildah = {
    run([command = '', ...args], options = {}) {
      const { enter = (argv: string[]) => argv, ...rest } = options;
      const trust = TRUSTING.includes(command) ? ['--signature-policy', policy] : [];
      return run(enter([...seeing(libraries), 'buildah', command, ...trust, ...args]), { env, ...rest });
    },
    async has(image) {
      const { code } = await buildah.run(['inspect', '--type', 'image', image], { allowFailure: true });
      return code === 0;
    },
  };
  return buildah;
}

/** Where the dynamic loader finds the tool's libraries, besides the machine's own. */
async function writeLibraryCache(file: string, { env }: Tools): Promise<void> {
  const settings = `${file}.conf`;
  const folders = (env['LD_LIBRARY_PATH'] ?? '').split(':').filter((path) => existsSync(path));
  writeFileSync(settings, `${folders.join('\n')}\ninclude /etc/ld.so.conf\n`);
  await run(['ldconfig', '-X', '-C', file, '-f', settings], { env });
}

/**
 * The argv prefix of a command that finds them. Buildah starts itself anew for every RUN, without the environment, so
 * LD_LIBRARY_PATH is not enough.
 */
function seeing(libraries: string): string[] {
  const bind = `mount --bind "$0" /etc/ld.so.cache && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', bind, libraries];
}
