import { LabError } from './errors.ts';

export interface Version {
  major: number;
  minor: number;
  patch: number;
}

/** Reads what `kubelet --version` prints: `Kubernetes v1.20.2`, `Kubernetes v1.36.2+distribution.1`. */
export function parseVersion(text: string): Version {
  const match = /\bv?(\d+)\.(\d+)\.(\d+)/.exec(text);
  if (match === null) {
    throw new LabError(`not a Kubernetes version: ${text.trim()}`);
  }
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3]) };
}

export function formatVersion({ major, minor, patch }: Version): string {
  return `${major}.${minor}.${patch}`;
}

const OLDEST_MINOR = 20;
/** Newer ones are tried with the newest known flags: most releases change nothing here. */
export const NEWEST_KNOWN_MINOR = 36;

interface VersionDependent {
  kubelet: string[];
  kubeletConfiguration: Record<string, unknown>;
  controllerManager: string[];
  scheduler: string[];
}

/**
 * Flags and configuration that only some versions have; those that all have stand where the process is
 * started.
 */
export function flags(version: Version, runtimeEndpoint: string): VersionDependent {
  const { major, minor } = version;
  if (major !== 1 || minor < OLDEST_MINOR) {
    throw new LabError(
      `Kubernetes ${formatVersion(version)} is not supported by the lab: 1.${OLDEST_MINOR} or newer is`,
    );
  }
  // Removed in 1.24, together with the insecure ports that they turn off.
  const noInsecurePort = minor < 24 ? ['--port=0'] : [];
  return {
    kubelet: [
      // With dockershim, removed in 1.24, the runtime had to be chosen; the flag itself went in 1.27.
      ...(minor < 27 ? ['--container-runtime=remote'] : []),
      // In the configuration file from 1.27.
      ...(minor < 27 ? [`--container-runtime-endpoint=${runtimeEndpoint}`] : []),
    ],
    kubeletConfiguration: {
      ...(minor >= 27 ? { containerRuntimeEndpoint: runtimeEndpoint } : {}),
      // A field from 1.25; in a nested root file system the kubelet cannot measure what it would isolate.
      ...(minor >= 25 ? { localStorageCapacityIsolation: false } : {}),
      // A field from 1.31; true by default from 1.35, which refuses machines with cgroup v1.
      ...(minor >= 31 ? { failCgroupV1: false } : {}),
    },
    controllerManager: noInsecurePort,
    scheduler: noInsecurePort,
  };
}
