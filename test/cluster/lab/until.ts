import { setTimeout as delay } from 'node:timers/promises';
import { LabError, messageOf } from './errors.ts';

/** Thrown by a probe when waiting on is pointless. */
export class GiveUp extends LabError {}

/**
 * Polls until the probe answers `true`; any other answer is the reason why not yet, and the last one ends
 * up in the error. A probe that throws counts as "not yet", except for GiveUp.
 */
export async function until(
  what: string,
  seconds: number,
  probe: () => Promise<true | string> | true | string,
  intervalMilliseconds = 100,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    let reason: true | string;
    try {
      reason = await probe();
    } catch (error) {
      if (error instanceof GiveUp) {
        throw error;
      }
      reason = messageOf(error);
    }
    if (reason === true) {
      return;
    }
    if (performance.now() > deadline) {
      throw new LabError(`${what}: not so after ${seconds} s (${reason})`);
    }
    await delay(intervalMilliseconds);
  }
}
