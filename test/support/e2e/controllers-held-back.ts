import { mainProcess, signal } from '../../cluster/lab/process-table.ts';

/**
 * While `work` runs, the cluster's controllers stand still: a Deployment that was let go gets no new pod yet, and there is
 * time to look at what is there before.
 */
export async function withControllersHeldBack<T>(work: () => Promise<T>): Promise<T> {
  const pid = mainProcess('hub/kube-controller-manager')?.pid;
  if (pid === undefined) throw new Error('the lab has no controllers');
  const goOn = () => signal(pid, 'SIGCONT');
  process.once('exit', goOn);
  signal(pid, 'SIGSTOP');
  try {
    return await work();
  } finally {
    goOn();
    process.off('exit', goOn);
  }
}
