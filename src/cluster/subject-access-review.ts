import { GROUP } from '../api/names.ts';
import { at } from '../json.ts';
import type { Logger } from '../log.ts';
import type { LogLimit } from '../log-limit.ts';
import type { ApiClient } from './api-client.ts';

/** `userInfo` of an AdmissionReview. */
export interface User {
  readonly username: string;
  readonly uid?: string | undefined;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
}

// Admission waits for it, and the API server waits 5 s for admission.
const DEADLINE_MS = 1000;

/** Whether the user may `bypass` `imagepreloads.pullgate.io` in the namespace. Never throws: no answer counts as no. */
export async function mayBypass(
  client: ApiClient,
  user: User,
  namespace: string,
  { log, limitLog }: { readonly log: Logger; readonly limitLog: LogLimit },
): Promise<boolean> {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: user.username,
      uid: user.uid,
      groups: user.groups,
      extra: user.extra,
      resourceAttributes: { group: GROUP, resource: 'imagepreloads', verb: 'bypass', namespace },
    },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  try {
    const answer = await client.create(path, review, {}, { deadlineMs: DEADLINE_MS, retry: false });
    return at(answer, 'status', 'allowed') === true;
  } catch (err) {
    limitLog('bypass', (fields) =>
      log.warn(
        { ...fields, err, user: user.username, namespace },
        'could not find out whether the user may bypass; the bypass is refused',
      ),
    );
    return false;
  }
}
