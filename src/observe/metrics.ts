import { Counter, collectDefaultMetrics, Histogram, type Registry } from 'prom-client';
import { MODES, type Mode } from '../api/names.ts';

/**
 * What is counted when it happens. Values of labels come from small, closed sets: no image, node, Deployment or namespace
 * is ever one. `npm run docs` writes docs/reference/metrics.md from these names and help texts.
 */
export interface Metrics {
  /** @param decision what `decide` came to, or `Error` where the answer was one */
  admission(mode: Mode, decision: string, seconds: number): void;
  /** @param reason why the hold ended, such as `Ready`, `OptedOut` or `Resumed` */
  holdEnded(reason: string, seconds: number): void;
  /** One attempt of one node at one image. */
  nodePull(result: 'Pulled' | 'Failed' | 'TimedOut', seconds: number): void;
  /** Of each such attempt that did not end in `Pulled`. */
  pullFailed(reason: string): void;
  /** @param code HTTP status, or `error` where there was no answer */
  apiRequest(verb: string, code: number | 'error'): void;
}

// The decision alone takes a millisecond or less; a look-up at the API server adds at most 1 s, and after 5 s nobody waits.
const ADMISSION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
// From an image that is there to a large one on a slow network: a node has 900 s, a hold an hour, unless set otherwise.
const PULL_BUCKETS = [1, 2.5, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 900, 1800];
const HOLD_BUCKETS = [1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21_600, 86_400];

/** The metrics of the process and of Node are collected into the registry as well. */
/** @param failureReasons those of pulls, which are there from the start */
export function createMetrics(registry: Registry, failureReasons: readonly string[] = []): Metrics {
  const registers = [registry];
  // The default wakes the process every 10 ms: 2% of a core and more, where nothing else happens.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1000 });
  // What it measures then is that second. nodejs_eventloop_lag_seconds, without one of these words, is measured at each scrape.
  for (const statistic of ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'])
    registry.removeSingleMetric(`nodejs_eventloop_lag_${statistic}_seconds`);
  const admissions = new Counter({
    name: 'pullgate_admissions_total',
    help: 'Updates that Pullgate decided on. The decision is `Error` if the answer was an error',
    labelNames: ['mode', 'decision'],
    registers,
  });
  const admissionDuration = new Histogram({
    name: 'pullgate_admission_duration_seconds',
    help: 'Seconds that Pullgate took to answer the API server',
    labelNames: ['mode'],
    buckets: ADMISSION_BUCKETS,
    registers,
  });
  const holdDuration = new Histogram({
    name: 'pullgate_hold_duration_seconds',
    help: 'Seconds that a hold lasted, by the reason for which the leader ended it',
    labelNames: ['reason'],
    buckets: HOLD_BUCKETS,
    registers,
  });
  const pullDuration = new Histogram({
    name: 'pullgate_node_pull_duration_seconds',
    help: 'Seconds that one attempt of one node to pull one image took, by result',
    labelNames: ['result'],
    buckets: PULL_BUCKETS,
    registers,
  });
  const pullFailures = new Counter({
    name: 'pullgate_node_pull_failures_total',
    help: 'Failed image pulls, by reason',
    labelNames: ['reason'],
    registers,
  });
  const apiRequests = new Counter({
    name: 'pullgate_api_requests_total',
    help: 'Requests to the API server, each attempt counted. The code is `error` if there was no answer',
    labelNames: ['verb', 'code'],
    registers,
  });
  // An alert on the increase of a series does not see it come into being.
  for (const mode of MODES) admissions.inc({ mode, decision: 'Error' }, 0);
  for (const reason of failureReasons) pullFailures.inc({ reason }, 0);

  return {
    admission(mode, decision, seconds) {
      admissions.inc({ mode, decision });
      admissionDuration.observe({ mode }, seconds);
    },
    holdEnded: (reason, seconds) => holdDuration.observe({ reason }, seconds),
    nodePull: (result, seconds) => pullDuration.observe({ result }, seconds),
    pullFailed: (reason) => pullFailures.inc({ reason }),
    apiRequest: (verb, code) => apiRequests.inc({ verb, code }),
  };
}
