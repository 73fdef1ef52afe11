import type { ImagePreload } from '../../api/image-preload.ts';
import { recordedFailure } from '../pods/pull-failure.ts';

/** Returns whether the status says that the preload has failed for good: every node that was asked refuses an image. */
export function hadFailed({ status }: ImagePreload): boolean {
  if (status?.phase !== 'Failed') return false;
  const ready = status.conditions.find(({ type }) => type === 'Ready');
  return ready !== undefined && recordedFailure(ready.reason, '')?.definitive === true;
}
