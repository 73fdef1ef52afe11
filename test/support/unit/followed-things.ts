import assert from 'node:assert/strict';
import { systemClock } from '../../../src/clock.ts';
import { createApiClient } from '../../../src/cluster/api-client.ts';
import { createReflector, type Reflector, type ReflectorOptions } from '../../../src/cluster/reflector.ts';
import { asString, at } from '../../../src/json.ts';
import { type ApiServerDouble, startApiServerDouble, THINGS } from './api-server-double.ts';
import { logDouble } from './log-double.ts';
import { until } from './until.ts';

interface Projection {
  readonly key: string;
  readonly spec: unknown;
}

type Change = [kind: 'added' | 'changed' | 'removed', key: string, spec: unknown];

export interface Stage {
  readonly double: ApiServerDouble;
  readonly reflector: Omit<Reflector<Projection>, 'start'>;
  /** The reflector starts, and its changes are kept. */
  start(): void;
  readonly changes: Change[];
  readonly lines: Record<string, unknown>[];
}

/** A reflector before a server double. Random 0: no wait between two attempts. */
export async function staged(
  run: (stage: Stage) => Promise<void>,
  overrides: Partial<ReflectorOptions<Projection>> & { readonly onChange?: (key: string) => void } = {},
): Promise<void> {
  const double = await startApiServerDouble();
  const client = createApiClient(double.cluster(), { clock: systemClock, random: () => 0 });
  const changes: Change[] = [];
  const shown: boolean[] = [];
  const { log, lines } = logDouble();
  const reflector = createReflector<Projection>({
    client,
    path: THINGS,
    parse: (raw) => ({
      key: `${asString(at(raw, 'metadata', 'namespace'))}/${asString(at(raw, 'metadata', 'name'))}`,
      spec: at(raw, 'spec'),
    }),
    log,
    clock: systemClock,
    random: () => 0,
    ...overrides,
  });
  const start = () =>
    reflector.start({
      onChange(key, now, before) {
        overrides.onChange?.(key);
        shown.push(reflector.get(key) === now);
        changes.push([
          now === undefined ? 'removed' : before === undefined ? 'added' : 'changed',
          key,
          (now ?? before)?.spec,
        ]);
      },
    });
  try {
    await run({ double, reflector, start, changes, lines });
    assert.ok(
      shown.every((is) => is),
      'the cache shows each change already',
    );
  } finally {
    await reflector.stop();
    await client.close();
    await double.close();
  }
}

export async function synced({ double, reflector, start }: Stage): Promise<void> {
  start();
  await reflector.synced;
  await until(() => double.openWatches === 1, 'the watch is open');
}
