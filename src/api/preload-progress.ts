/** How far the preload is that an update in mode reject waits for. */
export interface PreloadProgress {
  /** The outcome of the assessment, as the ImagePreload's status has it, unless nothing is known of it. */
  readonly outcome:
    | { readonly kind: 'wait' }
    /** The update may go ahead. The message says why. */
    | { readonly kind: 'release'; readonly message: string }
    /** Waiting is pointless. The message says why, in the registry's words. */
    | { readonly kind: 'fail'; readonly message: string }
    /** The review is not about the Deployment as it is stored: nothing was looked up, and nothing made. */
    | { readonly kind: 'stale' }
    /** The API server did not answer in time, so that nothing is known. */
    | { readonly kind: 'unanswered' }
    /** Too many preloads are being created for updates of this namespace: nothing was made. */
    | { readonly kind: 'crowded' };
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
