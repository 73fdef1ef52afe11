import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from './command.ts';
import { LabError } from './errors.ts';
import { formatVersion, NEWEST_KNOWN_MINOR, parseVersion } from './flags.ts';
import { type Ground, LAYOUT } from './ground.ts';
import {
  builtFolder,
  kubernetesBinaries,
  LAB_BINARIES,
  removeToolchain,
  waitProgram,
} from './kubernetes-build.ts';
import { RUNTIME_PACKAGES, unpacked, withIptables } from './packages.ts';
import { cacheFolder } from './paths.ts';
import { collectFacts, firstRunNotice, lacking, refusal } from './preflight.ts';

/** Binaries of somebody's choice instead of the built ones. */
function chosenBinaries(): string | undefined {
  const folder = process.env['PULLGATE_KUBE_BIN'];
  return folder ? resolve(folder) : undefined;
}

export async function checkMachine(running: boolean, log: (line: string) => void): Promise<void> {
  const cache = cacheFolder();
  const cached = chosenBinaries() !== undefined || existsSync(builtFolder(cache));
  const facts = await collectFacts(cache, cached, running);
  const lines = lacking(facts).concat(lackingBinaries());
  if (lines.length > 0) {
    throw new LabError(refusal(lines, facts));
  }
  if (!cached) {
    log(firstRunNotice(facts));
  }
}

function lackingBinaries(): string[] {
  const folder = chosenBinaries();
  const missing = LAB_BINARIES.filter((name) => folder !== undefined && !existsSync(join(folder, name)));
  return missing.length === 0 ? [] : [`${missing.join(', ')} in PULLGATE_KUBE_BIN=${folder}`];
}

/** Everything that a lab stands on, from the cache or made now. */
export async function prepare(log: (line: string) => void): Promise<Omit<Ground, 'port'>> {
  const cache = cacheFolder();
  const tools = await withIptables(await unpacked(cache, 'debian', RUNTIME_PACKAGES, log));
  const binaries = chosenBinaries() ?? (await kubernetesBinaries(cache, log));
  const program = await waitProgram(cache, log);
  removeToolchain(cache);
  const { stdout } = await run([join(binaries, 'kubelet'), '--version'], { timeoutSeconds: 10 });
  const version = parseVersion(stdout);
  if (version.minor > NEWEST_KNOWN_MINOR) {
    log(
      `Kubernetes ${formatVersion(version)} is newer than 1.${NEWEST_KNOWN_MINOR}: tried with that one's flags`,
    );
  }
  return { layout: LAYOUT, version, binaries, tools, waitProgram: program };
}
