import { MODES, type Mode } from '../api/names.ts';

/** Where API servers send the reviews of namespaces in that mode. */
export function admitPath(mode: Mode): string {
  return `/admit/${mode}`;
}

export const ADMIT_PATHS: ReadonlySet<string> = new Set(MODES.map(admitPath));
