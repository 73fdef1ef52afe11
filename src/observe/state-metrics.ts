import { Gauge, type Registry } from 'prom-client';

/** What is looked up at each scrape. Undefined: this replica cannot tell, and shows nothing, such as one that does not lead. */
export interface State {
  /** By what they wait for: images, an approval or a time. */
  holds():
    | Readonly<
        Record<string, { readonly open: number /** 0 without any. */; readonly oldestSeconds: number }>
      >
    | undefined;
  pulls(): { readonly running: number; readonly limit: number } | undefined;
  /** One for each collection that is followed, such as `deployments`. */
  watches(): Iterable<{ readonly resource: string; readonly silentSeconds: number }>;
  isLeader(): boolean;
  /** As `/readyz` answers. */
  isReady(): boolean;
  /** Such as `serving` and `ca`. */
  certificates(): Iterable<{ readonly certificate: string; readonly expiresAt: Date }>;
}

/** Shows the state of this replica in the registry. To be called once, when there is something to look up. */
export function exposeState(registry: Registry, state: State): void {
  labelledGauge(
    registry,
    'pullgate_holds',
    'Rollouts that are held now, by what they wait for: `images`, `approval` or `time`. Only the leader reports it',
    'waiting_for',
    function* () {
      for (const [waitingFor, { open }] of Object.entries(state.holds() ?? {})) yield [waitingFor, open];
    },
  );
  labelledGauge(
    registry,
    'pullgate_hold_oldest_age_seconds',
    'Seconds since the oldest hold began or was approved, or 0 if there is none, by what it waits for. Only the leader reports it',
    'waiting_for',
    function* () {
      for (const [waitingFor, { oldestSeconds }] of Object.entries(state.holds() ?? {}))
        yield [waitingFor, oldestSeconds];
    },
  );
  gauge(
    registry,
    'pullgate_pulls_running',
    'Puller pods that are pulling now. Only the leader reports it',
    () => state.pulls()?.running,
  );
  gauge(
    registry,
    'pullgate_pulls_limit',
    'Puller pods that may pull at a time: `--max-concurrent-pulls`. Only the leader reports it',
    () => state.pulls()?.limit,
  );
  gauge(registry, 'pullgate_leader', '1 on the leader, 0 on other replicas', () =>
    state.isLeader() ? 1 : 0,
  );
  gauge(registry, 'pullgate_ready', '1 if `/readyz` of the replica passes, 0 otherwise', () =>
    state.isReady() ? 1 : 0,
  );
  labelledGauge(
    registry,
    'pullgate_watch_age_seconds',
    'Seconds since Pullgate last heard from a watch, `+Inf` before its first list',
    'resource',
    function* () {
      for (const { resource, silentSeconds } of state.watches()) yield [resource, silentSeconds];
    },
  );
  labelledGauge(
    registry,
    'pullgate_certificate_expiry_timestamp_seconds',
    'When a certificate in use expires, in seconds since the epoch',
    'certificate',
    function* () {
      for (const { certificate, expiresAt } of state.certificates())
        yield [certificate, expiresAt.getTime() / 1000];
    },
  );
}

function gauge(registry: Registry, name: string, help: string, read: () => number | undefined): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      const value = read();
      // Not `reset`: that would show a 0.
      if (value === undefined) this.remove();
      else this.set(value);
    },
  });
}

function labelledGauge(
  registry: Registry,
  name: string,
  help: string,
  label: string,
  read: () => Iterable<readonly [string, number]>,
): void {
  new Gauge({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      this.reset();
      for (const [key, value] of read()) this.set({ [label]: key }, value);
    },
  });
}
