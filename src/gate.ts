import { Server } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { createAdmissionServer } from './admission/admission-server.ts';
import { parseDeployment } from './api/deployment.ts';
import { GATE_SERVICE_ACCOUNT } from './api/names.ts';
import type { Clock } from './clock.ts';
import type { ApiClient } from './cluster/api-client.ts';
import { createEventWriter, type EventWriter, type GateEvent } from './cluster/events.ts';
import { isAllowed } from './cluster/subject-access-review.ts';
import type { Config } from './config.ts';
import type { Controllers } from './controllers.ts';
import { runningTemplate } from './deployments/running-template.ts';
import { templateFinder } from './deployments/template-finder.ts';
import { GateError } from './errors.ts';
import type { Logger } from './log.ts';
import { createLogLimit, PROGRESS_RATE } from './log-limit.ts';
import type { Metrics } from './observe/metrics.ts';
import type { PullTimes } from './preloads/assess/pull-times.ts';
import { createBackgroundMaking } from './preloads/background-making.ts';
import { floorOf } from './preloads/preload-spec.ts';
import { requestPreload } from './preloads/requested-preload.ts';

export interface GateOptions {
  readonly config: Config;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Default `PULL_TIMES`. */
  readonly pullTimes?: PullTimes;
}

export interface Gate {
  /** When it does all that it is there for. Or when stopped before. */
  readonly ready: Promise<void>;
  /** Ends in order: what is under way is answered first. */
  stop(): Promise<void>;
}

/** Of both kinds of gate: how it speaks to the API server, as its own ServiceAccount. */
export interface GateIdentity {
  /** Separate from the leader's client, because anybody who can send reviews causes calls of this one. */
  readonly client: ApiClient;
  /** The gate's own. */
  readonly namespace: string;
  readonly writeEvent: (event: GateEvent) => void;
  readonly metrics?: Metrics | undefined;
  /** How far a preload is, where this process leads. */
  readonly progress?: Controllers['progress'];
  /** Aborted when this replica begins to leave; undefined where it has no others. */
  readonly leaving?: AbortSignal;
}

/** The endpoint that API servers call, wired but not listening. */
export function gateServer(
  { config, clock, log }: GateOptions,
  { client, namespace: own, writeEvent, metrics, leaving, progress }: GateIdentity,
  tls: { readonly cert: string; readonly key: string },
): FastifyInstance {
  const limitLog = createLogLimit(clock);
  const limitProgress = createLogLimit(clock, PROGRESS_RATE);
  const making = createBackgroundMaking({ clock, log, limitLog });
  const findTemplate = templateFinder(client, clock);
  return createAdmissionServer({
    tls,
    gate: {
      username: `system:serviceaccount:${own}:${GATE_SERVICE_ACCOUNT}`,
      exemptNamespaces: ['kube-system', own],
    },
    ...(config.bypassNeedsPermission && {
      may: (user, namespace, verb) => isAllowed(client, user, { namespace, verb }, { log, limitLog }),
    }),
    preloadProgress: async ({ namespace, name, user, oldObject, dryRun }, ask) =>
      await requestPreload(
        { namespace, name, username: user.username, oldObject, dryRun, ...ask },
        {
          ...{ client, clock, log, limitLog, limitProgress, writeEvent, settings: config.settings, making },
          runningTemplate: findTemplate,
        },
      ),
    runningTemplate: ({ oldObject, namespace }, hash) =>
      runningTemplate(client, { ...parseDeployment(oldObject), namespace }, hash, clock),
    ...(progress !== undefined && { progress }),
    floor: floorOf(config.settings),
    rules: { alwaysPullImages: config.settings.alwaysPullImages },
    leaving,
    onAnswer: metrics?.admission,
    clock,
    log,
  });
}

/** From the next connection on. */
export function useCertificate(
  { server }: FastifyInstance,
  pair: { readonly cert: string; readonly key: string },
): void {
  if (server instanceof Server) server.setSecureContext(pair);
}

/** @throws GateError PG_LISTEN */
export async function listen(
  server: FastifyInstance,
  address: { readonly host: string; readonly port: number },
): Promise<void> {
  try {
    await server.listen(address);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new GateError('PG_LISTEN', { address: `${address.host}:${address.port}`, detail }, error);
  }
}

export function eventWriter(client: ApiClient, instance: string, { clock, log }: GateOptions): EventWriter {
  return createEventWriter(client, {
    reportingController: 'pullgate.io/gate',
    reportingInstance: instance,
    clock,
    log,
  });
}
