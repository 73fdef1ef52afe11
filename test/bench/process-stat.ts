import { readFileSync } from 'node:fs';

/** USER_HZ: what Linux counts the times of /proc/PID/stat in, on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** What a process has used of its cores so far, user and system, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the name, which may hold spaces and brackets: counted from its end on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** What it has of the machine's memory now, in MB. */
export function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kb) / 1024);
}
