import { type GateVerb, GROUP } from '../api/names.ts';
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

/** Returns whether the user has this verb on `imagepreloads.pullgate.io` in the namespace. Never throws: no answer counts as no. */
export async function isAllowed(
  client: ApiClient,
  user: User,
  { namespace, verb }: { readonly namespace: string; readonly verb: GateVerb },
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
      resourceAttributes: { group: GROUP, resource: 'imagepreloads', verb, namespace },
    },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  try {
    const answer = await client.create(path, review, {}, { deadlineMs: DEADLINE_MS, retry: false });
    return at(answer, 'status', 'allowed') === true;
  } catch (err) {
    limitLog(verb, (fields) =>
      log.warn(
        { ...fields, err, user: user.username, namespace, verb },
        `could not find out whether the user has the verb ${verb}, so it is refused`,
      ),
    );
    return false;
  }
}
