import type { AddressInfo } from 'node:net';
import { destination } from 'pino';
import { GATE_NAMESPACE } from '../../../src/api/names.ts';
import { systemClock } from '../../../src/clock.ts';
import { readConfig } from '../../../src/config.ts';
import { gateServer } from '../../../src/gate.ts';
import { createLogger } from '../../../src/log.ts';
import { testTls } from '../../support/tls.ts';
import { DECISIONS, reviewCase, SIZES_KB } from './cases.ts';
import type { Listening } from './message.ts';
import { clientOf } from './stored-objects.ts';

/** The gate's admission in a process of its own, wired as `src/gate.ts` has it; its log goes to stdout, as in a container. */
const config = readConfig([process.execPath, 'gate', '--kubeconfig', 'none']);
const tls = await testTls();
const cases = DECISIONS.flatMap((decision) => SIZES_KB.map((sizeKb) => reviewCase(decision, sizeKb)));
const server = gateServer(
  {
    config,
    clock: systemClock,
    random: Math.random,
    log: createLogger(config.logLevel, destination({ sync: true })),
  },
  { client: clientOf(cases, config.settings), namespace: GATE_NAMESPACE, writeEvent: () => undefined },
  tls,
);
await server.listen({ host: '127.0.0.1', port: 0 });
process.on('disconnect', () => process.exit());
const listening: Listening = {
  port: (server.server.address() as AddressInfo).port,
  ca: tls.ca,
};
process.send?.(listening);
