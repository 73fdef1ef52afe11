import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Version } from './flags.ts';
import type { Tools } from './packages.ts';
import { state } from './paths.ts';

/** To be raised when a running lab of an older clone cannot be converged to what this code wants. */
export const LAYOUT = 2;

/**
 * What a lab stands on: fixed when it is made, and read back by every later command, from whichever clone.
 */
export interface Ground {
  layout: number;
  version: Version;
  /** Its PATH leads to Kubernetes, etcd and containerd first, then to Debian's packages. */
  tools: Tools;
  waitProgram: string;
  /** The API server's port, the same on the machine's loopback and inside the hub. */
  port: number;
}

const FILE = state('lab.json');
export const KUBECONFIG = state('kubeconfig');

export function readGround(): Ground | undefined {
  try {
    return JSON.parse(readFileSync(FILE, 'utf8')) as Ground;
  } catch {
    return undefined;
  }
}

export function writeGround(ground: Ground): void {
  writeFileSync(FILE, `${JSON.stringify(ground, null, 2)}\n`);
}

export function serverUrl(ground: Ground): string {
  return `https://127.0.0.1:${ground.port}`;
}

/** Is everything that this ground names still there, and is it what is wanted now? */
export function isSameGround(running: Ground, wanted: Omit<Ground, 'port'>): boolean {
  return (
    running.layout === wanted.layout &&
    JSON.stringify(running.version) === JSON.stringify(wanted.version) &&
    JSON.stringify(running.tools) === JSON.stringify(wanted.tools) &&
    existsSync(running.tools.root)
  );
}
