import {
  EMPTY_STATUS,
  type ImagePreload,
  type ImagePreloadStatus,
  imageNames,
  parseImagePreload,
} from '../api/image-preload.ts';

const { spec: EMPTY_SPEC } = parseImagePreload({});

/**
 * Returns what the cache keeps of an ImagePreload that is not served: because it waits for a place, or has finished. That is enough to
 * tell what it is for, and when it expires. The API server has the rest.
 */
export function trimPreload(preload: ImagePreload): ImagePreload {
  const { trimmed, refused: _, owner, spec, status, ...identity } = preload;
  if (trimmed !== undefined) return preload;
  const { templateHash, deadlineSeconds, ttlSecondsAfterFinished } = spec;
  return {
    ...identity,
    ...(owner !== undefined && { owner }),
    spec: {
      ...EMPTY_SPEC,
      ...(templateHash !== undefined && { templateHash }),
      ...{ deadlineSeconds, ttlSecondsAfterFinished },
    },
    ...(status !== undefined && { status: trimStatus(status) }),
    trimmed: {
      images: spec.images.length,
      // Shown in the status of one that waits, which is written once.
      imageNames: status === undefined ? imageNames(preload) : '',
    },
  };
}

function trimStatus(status: ImagePreloadStatus): ImagePreloadStatus {
  const { phase, conditions, startedAt, finishedAt } = status;
  return {
    ...EMPTY_STATUS,
    phase,
    conditions: conditions
      .filter(({ type }) => type === 'Ready')
      .map((condition) => ({ ...condition, message: '' })),
    ...(startedAt !== undefined && { startedAt }),
    ...(finishedAt !== undefined && { finishedAt }),
  };
}
