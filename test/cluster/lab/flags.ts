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

/** Pullgate supports these and later ones. */
const OLDEST_MINOR = 30;
/** Debian's source package, which the lab falls back to for a demo. */
const FALLBACK_MINOR = 20;
/** Newer ones are tried with the newest known flags: most releases change nothing here. */
export const NEWEST_KNOWN_MINOR = 37;

/** True for the fallback's Kubernetes, which Pullgate serves only with `--unsupported-server`. */
export function isFallback({ major, minor }: Version): boolean {
  return major === 1 && minor === FALLBACK_MINOR;
}

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
  if (isFallback(version)) {
    return {
      kubelet: ['--container-runtime=remote', `--container-runtime-endpoint=${runtimeEndpoint}`],
      kubeletConfiguration: {},
      // The insecure ports, which no later release has.
      controllerManager: ['--port=0'],
      scheduler: ['--port=0'],
    };
  }
  const { major, minor } = version;
  if (major !== 1 || minor < OLDEST_MINOR) {
    throw new LabError(
      `the lab does not run Kubernetes ${formatVersion(version)}. It needs 1.${OLDEST_MINOR} or later`,
    );
  }
  return {
    kubelet: [],
    kubeletConfiguration: {
      containerRuntimeEndpoint: runtimeEndpoint,
      // In a nested root file system the kubelet cannot measure what it would isolate.
      localStorageCapacityIsolation: false,
      // A field from 1.31; true by default from 1.35, which refuses machines with cgroup v1.
      ...(minor >= 31 ? { failCgroupV1: false } : {}),
    },
    controllerManager: [],
    scheduler: [],
  };
}
