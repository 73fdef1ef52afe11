import type { ImagePreload } from '../api/image-preload.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import type { Assessment, Progress } from './assess/assess.ts';

interface Assessed extends Pick<Assessment, 'outcome'> {
  readonly progress: Pick<Progress, 'newlyReady' | 'ready' | 'desired'>;
}

/** Logs what is new in the assessment of an ImagePreload: nodes that became ready, and another outcome. */
export function logProgress(
  preload: ImagePreload,
  before: Pick<Assessment, 'outcome'> | undefined,
  { outcome, progress }: Assessed,
  {
    clock,
    log,
    limitProgress,
  }: { readonly clock: Clock; readonly log: Logger; readonly limitProgress: LogLimit },
): void {
  const { namespace, name, owner, createdAt } = preload;
  const { ready, desired } = progress;
  const about = { preload: `${namespace}/${name}`, deployment: owner?.name };
  const info = (fields: object, message: string) =>
    limitProgress(namespace, (more) => {
      log.info(
        { ...about, durationMs: clock.now() - createdAt, ...fields, ready, desired, ...more },
        message,
      );
    });
  for (const node of progress.newlyReady) info({ node }, 'node ready');
  const { kind, reason } = outcome;
  if (before?.outcome.kind !== kind || before.outcome.reason !== reason)
    info({ outcome }, `preload outcome: ${kind}`);
}
