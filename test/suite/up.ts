import { beginAudit } from '../cluster/lab/audit-log.ts';
import { messageOf } from '../cluster/lab/errors.ts';
import { RELEASES } from '../cluster/lab/prepare.ts';
import { preparedLab } from './prepared-lab.ts';

/** Brings up a lab for the suite in the machine that this runs in: the release, and when its audit log begins. */
const [kubernetes, period = ''] = process.argv.slice(2);
const release = RELEASES.find((one) => one === kubernetes);

try {
  await preparedLab(release, (line) => process.stdout.write(`lab: ${line}\n`));
  beginAudit(new Date(period));
} catch (error) {
  process.stdout.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
