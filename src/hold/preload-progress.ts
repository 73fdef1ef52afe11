/** How far the preload is that an update in mode reject waits for. */
export interface PreloadProgress {
  readonly verdict:
    | { readonly kind: 'waiting' }
    /** The update may go ahead; why, in words. */
    | { readonly kind: 'ready'; readonly reason: string }
    /** Waiting makes no sense; why, in the registry's words. */
    | { readonly kind: 'failed'; readonly reason: string }
    /** The review is not about the Deployment as it is stored: nothing was looked up, and nothing made. */
    | { readonly kind: 'stale' }
    /** The API server did not answer in time, so that nothing is known. */
    | { readonly kind: 'unanswered' };
  readonly readyNodes: number;
  /** 0 until it is known. */
  readonly desiredNodes: number;
  /** Since it was made. */
  readonly elapsedSeconds: number;
  /** As far as this preload itself has shown; undefined as long as it has not. */
  readonly remainingSeconds: number | undefined;
  /** A pull that fails and is tried again, in the registry's words. */
  readonly trouble?: string;
}
