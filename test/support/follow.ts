import pino from 'pino';
import { systemClock } from '../../src/clock.ts';
import {
  createReflector,
  type Follower,
  type Reflector,
  type ReflectorOptions,
} from '../../src/cluster/reflector.ts';

/**
 * Follows a collection of a real API server from now on.
 * @param level of what is logged: `fatal` where the API server is expected to restart
 */
export function follow<T>(
  options: Pick<ReflectorOptions<T>, 'client' | 'path' | 'query' | 'parse'>,
  onChange: Follower<T>['onChange'],
  level: 'error' | 'fatal' = 'error',
): Reflector<T> {
  const reflector = createReflector<T>({
    ...{ ...options, clock: systemClock, random: Math.random },
    log: pino({ level }),
  });
  reflector.start({ onChange });
  return reflector;
}
