/** Seconds between two samples, and between two evaluations of a rule. It is the interval of the ServiceMonitor. */
export const STEP_SECONDS = 30;

/** What Prometheus sees over time, and whether an alert fires. */
export interface AlertCase {
  readonly alert: string;
  /** What happens, as the first half of a test's title. */
  readonly when: string;
  /** Samples of each series from minute 0 on, one each step, in promtool's notation. */
  readonly series: Readonly<Record<string, string>>;
  /** For how long to watch. */
  readonly minutes: number;
  /** Absent for a near miss: the alert never fires. */
  readonly fires?: {
    /** In minutes. The alert fires at each step from the first one to the last one, and at no other step. */
    readonly from: number;
    readonly to: number;
    /** Those that the query keeps. */
    readonly labels?: Readonly<Record<string, string>>;
    /** As people read it when the alert begins to fire. */
    readonly description: string;
  };
}

const samples = (minutes: number) => (minutes * 60) / STEP_SECONDS;
/** The same value for so many minutes. */
const steady = (value: number, minutes: number) => `${value}x${samples(minutes) - 1}`;
/** promtool repeats finite numbers only. */
const infinite = (minutes: number) => Array.from({ length: samples(minutes) }, () => 'Inf').join(' ');
/** The age of something that nothing makes younger. */
const ageing = (minutes: number, from = 0) => `${from}+${STEP_SECONDS}x${samples(minutes) - 1}`;
/** The series does not exist. */
const none = (minutes: number) => `_x${samples(minutes)}`;
const then = (...parts: string[]) => parts.join(' ');

const AGE = 'pullgate_hold_oldest_age_seconds{pod="a",waiting_for="images"}';
const FAILURES = 'pullgate_node_pull_failures_total{pod="a",reason="NotFound"}';
const leads = (pod: string) => `pullgate_leader{pod="${pod}"}`;
const ready = (pod: string) => `pullgate_ready{pod="${pod}"}`;
const CERTIFICATE = 'pullgate_certificate_expiry_timestamp_seconds{pod="a",certificate="serving"}';
const ERRORS = 'pullgate_admissions_total{pod="a",mode="pause",decision="Error"}';
const WATCH = 'pullgate_watch_age_seconds{pod="a",resource="pods"}';
const API_SERVER = 'job="apiserver",instance="10.0.0.1:6443"';
const UP = `up{${API_SERVER}}`;
const FAIL_OPEN = `apiserver_admission_webhook_fail_open_count{${API_SERVER},name="pause.pullgate.io",type="admit"}`;
const rejected = (name: string, errorType: string) =>
  `apiserver_admission_webhook_rejection_count{${API_SERVER},name="${name}",error_type="${errorType}",operation="UPDATE"}`;

const DAY_SECONDS = 86_400;
const ONE_CALL_FAILED =
  '1 calls failed in 15 minutes. With failurePolicy Ignore these updates went ahead ungated, with Fail they were refused.';

/** For each alert at least one case in which it fires, and one near miss. */
export const ALERT_CASES: readonly AlertCase[] = [
  {
    alert: 'PullgateHoldPastDeadline',
    when: 'a hold lasts for 80 minutes',
    series: { [AGE]: then(ageing(80), steady(0, 10)) },
    minutes: 90,
    fires: { from: 75.5, to: 79.5, description: 'The oldest hold has lasted for 1h 15m 30s.' },
  },
  {
    alert: 'PullgateHoldPastDeadline',
    when: 'a hold ends after 75 minutes',
    series: { [AGE]: then(ageing(75), steady(0, 15)) },
    minutes: 90,
  },
  {
    alert: 'PullgatePreloadFailing',
    when: 'two nodes fail in minute 5 and none later',
    series: { [FAILURES]: then(steady(0, 5), steady(2, 45)) },
    minutes: 50,
    fires: {
      from: 15,
      to: 34,
      labels: { reason: 'NotFound' },
      description: '2 pulls failed in 30 minutes with the reason NotFound.',
    },
  },
  {
    alert: 'PullgatePreloadFailing',
    when: 'all failures are older than 30 minutes, and the replica restarts',
    series: { [FAILURES]: then(steady(7, 20), steady(0, 30)) },
    minutes: 50,
  },
  {
    alert: 'PullgateNoLeader',
    when: 'no replica leads from minute 5 to minute 10',
    series: {
      [leads('a')]: then(steady(1, 5), steady(0, 10)),
      [leads('b')]: then(steady(0, 10), steady(1, 5)),
    },
    minutes: 15,
    fires: { from: 7, to: 9.5, description: 'Held rollouts are neither preloaded nor released.' },
  },
  {
    alert: 'PullgateNoLeader',
    when: 'no replica exists from minute 5 on',
    series: { [leads('a')]: then(steady(1, 5), 'stale') },
    minutes: 10,
    fires: { from: 7, to: 10, description: 'Held rollouts are neither preloaded nor released.' },
  },
  {
    alert: 'PullgateNoLeader',
    when: 'the next replica leads 90 seconds after the last one',
    series: {
      [leads('a')]: then(steady(1, 5), steady(0, 5)),
      [leads('b')]: then(steady(0, 6.5), steady(1, 3.5)),
    },
    minutes: 10,
  },
  {
    alert: 'PullgateNotReady',
    when: 'no replica is ready from minute 5 to minute 12',
    series: {
      [ready('a')]: then(steady(1, 5), steady(0, 7), steady(1, 3)),
      [ready('b')]: then(steady(1, 5), 'stale'),
    },
    minutes: 15,
    fires: {
      from: 10,
      to: 11.5,
      description: 'API servers do not reach Pullgate, or do not call it, so no new update is held.',
    },
  },
  {
    alert: 'PullgateNotReady',
    when: 'no replica is ready for 4.5 minutes',
    series: { [ready('a')]: then(steady(1, 5), steady(0, 4.5), steady(1, 5.5)), [ready('b')]: steady(0, 15) },
    minutes: 15,
  },
  {
    alert: 'PullgateNotReady',
    when: 'one replica of two is not ready',
    series: { [ready('a')]: steady(1, 15), [ready('b')]: steady(0, 15) },
    minutes: 15,
  },
  {
    alert: 'PullgateCertificateNearItsEnd',
    when: 'a certificate has less than 14 days left after minute 10',
    // promtool's clock begins at the epoch.
    series: { [CERTIFICATE]: steady(14 * DAY_SECONDS + 600, 40) },
    minutes: 40,
    fires: {
      from: 25.5,
      to: 40,
      labels: { certificate: 'serving' },
      description: 'The certificate serving expires in 13d 23h 44m 30s.',
    },
  },
  {
    alert: 'PullgateCertificateNearItsEnd',
    when: 'a certificate with less than 14 days left is renewed within 15 minutes',
    series: { [CERTIFICATE]: then(steady(14 * DAY_SECONDS + 600, 25), steady(90 * DAY_SECONDS, 15)) },
    minutes: 40,
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'the gate answers one update with an error in minute 5',
    series: { [ERRORS]: then(steady(0, 5), steady(1, 25)) },
    minutes: 30,
    fires: { from: 5, to: 19, description: ONE_CALL_FAILED },
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'the gate answers without an error, and an error is older than 15 minutes',
    series: {
      [ERRORS]: steady(1, 30),
      'pullgate_admissions_total{pod="a",mode="pause",decision="Held"}': `0+1x${samples(30)}`,
    },
    minutes: 30,
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'an API server lets its first update pass in minute 20, because no replica answers',
    series: { [UP]: steady(1, 40), [FAIL_OPEN]: then(none(20), steady(1, 20)) },
    minutes: 40,
    fires: { from: 20, to: 34.5, description: ONE_CALL_FAILED },
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'an API server lets a further update pass in minute 20',
    series: { [UP]: steady(1, 40), [FAIL_OPEN]: then(steady(3, 20), steady(4, 20)) },
    minutes: 40,
    fires: { from: 20, to: 34, description: ONE_CALL_FAILED },
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'an API server refuses its first update in minute 20, because no replica answers',
    series: {
      [UP]: steady(1, 40),
      [rejected('pause.pullgate.io', 'calling_webhook_error')]: then(none(20), steady(1, 20)),
    },
    minutes: 40,
    fires: { from: 20, to: 34.5, description: ONE_CALL_FAILED },
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'Prometheus is new and API servers count failures of long ago',
    series: {
      [UP]: steady(1, 40),
      [FAIL_OPEN]: steady(3, 40),
      [rejected('pause.pullgate.io', 'calling_webhook_error')]: steady(2, 40),
    },
    minutes: 40,
  },
  {
    alert: 'PullgateWebhookErrors',
    when: 'mode reject denies updates, and calls of another webhook fail',
    series: {
      [UP]: steady(1, 40),
      [rejected('reject.pullgate.io', 'no_error')]: then(none(20), `1+1x${samples(20)}`),
      [rejected('policy.example.com', 'calling_webhook_error')]: then(none(20), `1+1x${samples(20)}`),
    },
    minutes: 40,
  },
  {
    alert: 'PullgateWatchSilent',
    when: 'the leader hears nothing of the pods for 22 minutes',
    series: { [WATCH]: then(ageing(22), steady(0, 8)) },
    minutes: 30,
    fires: {
      from: 20.5,
      to: 21.5,
      labels: { resource: 'pods' },
      description: 'The leader has heard nothing about pods for 20m 30s.',
    },
  },
  {
    alert: 'PullgateWatchSilent',
    when: 'a new leader cannot list the pods for 6 minutes',
    series: { [WATCH]: then(none(2), infinite(6), steady(0, 7)) },
    minutes: 15,
    fires: {
      from: 7,
      to: 7.5,
      labels: { resource: 'pods' },
      description: 'The leader has heard nothing about pods for +Inf.',
    },
  },
  {
    alert: 'PullgateWatchSilent',
    when: 'the leader hears of the pods again after 20 minutes',
    series: { [WATCH]: then(ageing(20), steady(0, 10)) },
    minutes: 30,
  },
];
