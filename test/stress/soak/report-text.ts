import { type Growth, isJudged, LIMIT_MB_PER_1000_HOLDS, type Sample } from './growth.ts';
import type { Slope } from './slope.ts';
import type { SoakReport } from './soak.ts';

const ROWS = 12;

/** A table for people, and the same as one line of JSON. */
export function reportText(report: SoakReport): string {
  const { samples, outcomes, problems } = report;
  const counts = Object.entries(outcomes).map(([what, count]) => `${what} ${count}`);
  return [
    `Kubernetes ${report.kubernetesVersion}, ${report.deployments} Deployments, ${report.minutes} minutes`,
    `holds: ${counts.join(', ')}; pulls ${report.pulls}; late ${report.late}`,
    '',
    '  minute   holds   live MB   heap MB   resident MB   CPU s',
    ...some(samples).map(row),
    '',
    'growth over the last two thirds    MB an hour         MB per 1,000 holds',
    growthRow('live', report.live),
    growthRow('resident', report.resident),
    isJudged(report.live)
      ? `limit of live: ${LIMIT_MB_PER_1000_HOLDS} MB per 1,000 holds, and twice the standard error`
      : `${report.live.holds} holds are too few to judge the slope by`,
    `images of holds that the gate still names when all are over: ${report.rememberedImages}`,
    ...problems.map((problem) => `PROBLEM ${problem}`),
    problems.length === 0 ? 'passed' : `FAILED: ${problems.length} problems`,
    JSON.stringify(report),
  ].join('\n');
}

/** For docs/faults.md: every number in it is measured. */
export function reportPage(report: SoakReport, day: string): string {
  const { outcomes, samples, live, resident, problems } = report;
  const { opened, ...others } = outcomes;
  const rest = Object.entries(others).map(([what, count]) => `${count} ${what}`);
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const cells = ({ seconds, holds, liveMb, residentMb }: Sample) =>
    line([(seconds / 60).toFixed(1), String(holds), liveMb.toFixed(1), residentMb.toFixed(0)]);
  return `\`npm run test:soak -- --minutes M --keep\` opens and ends holds, and measures whether they leave memory behind. Last run: ${day},
Kubernetes ${report.kubernetesVersion}, simulated kubelets, ${report.minutes} minutes: ${opened} holds opened on ${report.deployments} Deployments (${rest.join(', ')}),
${report.pulls} pulls.

| minute | holds | live MB | resident MB |
| --- | --- | --- | --- |
${some(samples).map(cells).join('\n')}

Live memory is what remains after a garbage collection. In the last two thirds of the run it grew by ${text(live.mbPer1000Holds)} MB per 1,000 holds.
The test fails if the growth less twice its standard error is more than ${LIMIT_MB_PER_1000_HOLDS}. Resident memory grew by ${text(resident.mbPer1000Holds)}. Each hold
had an image of its own. At the end, ${report.rememberedImages} of these images were still named in Pullgate's memory. ${problems.length === 0 ? 'No other problem was found.' : problems.join(' ')}
`;
}

/** The first, the last, and as many in between as a screen shows. */
function some(samples: readonly Sample[]): Sample[] {
  const step = Math.max(1, Math.ceil((samples.length - 1) / (ROWS - 1)));
  return samples.filter((_, index) => index % step === 0 || index === samples.length - 1);
}

function row({ seconds, holds, liveMb, heapMb, residentMb, cpuSeconds }: Sample): string {
  return [
    (seconds / 60).toFixed(1).padStart(8),
    String(holds).padStart(8),
    liveMb.toFixed(2).padStart(10),
    heapMb.toFixed(0).padStart(10),
    residentMb.toFixed(0).padStart(14),
    cpuSeconds.toFixed(0).padStart(8),
  ].join('');
}

function growthRow(what: string, { mbPerHour, mbPer1000Holds }: Growth): string {
  return what.padEnd(35) + text(mbPerHour).padEnd(19) + text(mbPer1000Holds);
}

function text({ of, error }: Slope): string {
  return `${of.toFixed(2)} ± ${error.toFixed(2)}`;
}
