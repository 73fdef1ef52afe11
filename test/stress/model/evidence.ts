import type { JsonObject } from '../../../src/json.ts';
import type { AuditedUpdate } from '../../cluster/lab/audit-log.ts';

/** All that is known of a sequence beside what was seen of its objects. */
export interface Evidence {
  readonly namespace: string;
  /** ms since the epoch. */
  readonly from: number;
  readonly to: number;
  /** Of the gate's log. */
  readonly gate: readonly JsonObject[];
  /** Of the API server's audit log. */
  readonly updates: readonly AuditedUpdate[];
  /** Of the API server's own log. */
  readonly apiServer: readonly string[];
}

/** pino's. */
const WARN = 40;

/** What explains a failed sequence, as lines to read: told apart are an early release, and an update that nobody was asked about. */
export function evidenceText({ namespace, from, to, gate, updates, apiServer }: Evidence): string[] {
  const isAbout = (line: JsonObject) => JSON.stringify(line).includes(`${namespace}/`);
  const isTrouble = ({ level, time }: JsonObject) =>
    Number(level) >= WARN && Number(time) >= from && Number(time) <= to;
  const seconds = (at: number) => `${((at - from) / 1000).toFixed(1)} s`;
  return [
    'updates, by the audit log of the API server:',
    ...updates.map(({ at, user, name, code, failedOpen }) => {
      const passed = failedOpen.length === 0 ? '' : `, FAILED OPEN: ${failedOpen.join(', ')}`;
      return `${seconds(at)} ${name} by ${user}: ${code}${passed}`;
    }),
    'webhooks that failed, by the log of the API server:',
    ...apiServer.filter((line) => line.includes('failing open')),
    'the gate:',
    ...gate
      .filter((line) => isAbout(line) || isTrouble(line))
      .map(({ time, ...line }) => `${seconds(Number(time))} ${JSON.stringify(line)}`),
  ];
}
