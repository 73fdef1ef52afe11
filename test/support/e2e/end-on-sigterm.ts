import type { Gate } from '../../../src/gate.ts';
import type { Logger } from '../../../src/log.ts';

/** As `src/main.ts` ends, but for the second signal. */
export function endOnSigterm(gate: Gate, log: Logger): void {
  process.on('SIGTERM', () => {
    gate.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, 'unexpected');
        process.exit(1);
      },
    );
  });
}
