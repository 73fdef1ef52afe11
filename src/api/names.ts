/** Every name that Pullgate puts on an object or reads from one. They are a public contract. */

export const GROUP = 'pullgate.io';
/** Of the ImagePreload, deploy/crd.yaml. */
export const API_VERSION = `${GROUP}/v1alpha1`;
/** Where the API server has ImagePreloads. */
export const API_GROUP_PATH = `/apis/${API_VERSION}`;
export const IMAGE_PRELOAD_KIND = 'ImagePreload';

// The meaning of each label, annotation and taint is in `MARKS` below, or in `SETTINGS` (hold/settings.ts).
export const MODE_LABEL = 'pullgate.io/mode';
export const MODES = ['pause', 'reject', 'audit'] as const;
/**
 * What happens to an update that needs a pull. `pause`: the update is stored and held. `reject`: it is denied until its images
 * are on the nodes. `audit`: it goes ahead, and an Event reports it.
 */
export type Mode = (typeof MODES)[number];
export const MODE_OFF = 'off';
export const HELD_LABEL = 'pullgate.io/held';
export const APPROVAL_LABEL = 'pullgate.io/approval';
export const APPROVAL_REQUIRED = 'required';

export const HOLD_ANNOTATION = 'pullgate.io/hold';
export const DECIDED_ANNOTATION = 'pullgate.io/decided';
export const BYPASS_ANNOTATION = 'pullgate.io/bypass';
export const REVERT_ANNOTATION = 'pullgate.io/revert';
export const APPROVED_ANNOTATION = 'pullgate.io/approved';
export const NOT_BEFORE_ANNOTATION = 'pullgate.io/not-before';
export const KEEP_PAUSED_ANNOTATION = 'pullgate.io/keep-paused';
export const PARALLELISM_ANNOTATION = 'pullgate.io/parallelism';
export const MIN_NODES_ANNOTATION = 'pullgate.io/min-nodes';
export const NODE_TIMEOUT_ANNOTATION = 'pullgate.io/node-timeout-seconds';
export const DEADLINE_ANNOTATION = 'pullgate.io/deadline-seconds';
export const NODE_SELECTOR_ANNOTATION = 'pullgate.io/node-selector';

/** All annotations of a Deployment that the leader reads. The bypass and the revert are read by admission alone. */
export const LEADER_ANNOTATIONS: readonly string[] = [
  HOLD_ANNOTATION,
  DECIDED_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
  APPROVED_ANNOTATION,
  NOT_BEFORE_ANNOTATION,
  PARALLELISM_ANNOTATION,
  MIN_NODES_ANNOTATION,
  NODE_TIMEOUT_ANNOTATION,
  DEADLINE_ANNOTATION,
  NODE_SELECTOR_ANNOTATION,
];

/** All of a Deployment. deploy/marks-policy.yaml warns of others. */
export const DEPLOYMENT_ANNOTATIONS: readonly string[] = [
  ...LEADER_ANNOTATIONS,
  BYPASS_ANNOTATION,
  REVERT_ANNOTATION,
];
export const DEPLOYMENT_LABELS: readonly string[] = [MODE_LABEL, HELD_LABEL, APPROVAL_LABEL];

export const MADE_FOR_ANNOTATION = 'pullgate.io/made-for';

export const PULLER_LABEL = 'pullgate.io/puller';
export const PRELOAD_LABEL = 'pullgate.io/preload';
export const PULL_LABEL = 'pullgate.io/pull';
export const ATTEMPT_ANNOTATION = 'pullgate.io/attempt';
export const FIRST_ATTEMPT_ANNOTATION = 'pullgate.io/first-attempt-at';
export const BOOT_ID_ANNOTATION = 'pullgate.io/boot-id';

export const IMAGES_NOT_READY_TAINT = 'pullgate.io/images-not-ready';

export const RENEW_ANNOTATION = 'pullgate.io/renew';
export const REGISTERED_BY_LABEL = 'pullgate.io/registered-by';

/** What a user may need the permission for, as verbs on imagepreloads.pullgate.io in the namespace of the Deployment. */
export type GateVerb = 'bypass' | 'approve';

/** The PriorityClass of puller pods: low, non-preempting. A pod that names a missing one is refused. */
export const PRIORITY_CLASS = 'pullgate-preload';

/** The gate's namespace and ServiceAccount, deploy/service-account.yaml. */
export const GATE_NAMESPACE = 'pullgate';
export const GATE_SERVICE_ACCOUNT = 'pullgate';
/** The Lease in Pullgate's namespace. The replica that holds it runs the controllers. */
export const LEASE = 'pullgate';
/** In the gate's namespace: the authority and the serving certificate of all replicas, see `certs/certificate-secret.ts`. */
export const CERTIFICATES_SECRET = 'pullgate-certificates';
/** deploy/webhook-configuration.yaml. */
export const WEBHOOK_CONFIGURATION = 'pullgate';
/** Characters. The longest name of a ServiceAccount has 338: a prefix of 22, 63 of the namespace, 253 of its own. */
export const USERNAME_LIMIT = 340;
/** Set by the Deployment controller, counted up by each rollout that it begins. */
export const REVISION_ANNOTATION = 'deployment.kubernetes.io/revision';

interface Mark {
  readonly name: string;
  readonly kind: 'label' | 'annotation' | 'taint';
  /** The kinds of objects. */
  readonly on: string;
  readonly writtenBy: string;
  readonly values: string;
  readonly meaning: string;
}

/**
 * Every label, annotation and taint except the settings. `npm run docs` writes docs/reference/labels-and-annotations.md from this table
 * and from `SETTINGS`.
 */
export const MARKS: readonly Mark[] = [
  {
    name: MODE_LABEL,
    kind: 'label',
    on: 'Namespace',
    writtenBy: 'you',
    values: '`pause`, `reject` or `audit`',
    meaning:
      'What Pullgate does with an update of a Deployment in this namespace that needs a new image. `pause` stores and holds it, `reject` denies it until the images are on the nodes, and `audit` lets it go ahead and reports it.',
  },
  {
    name: MODE_LABEL,
    kind: 'label',
    on: 'Deployment',
    writtenBy: 'you',
    values: '`off`',
    meaning: 'Opts this Deployment out. A hold ends within 5 s.',
  },
  {
    name: APPROVAL_LABEL,
    kind: 'label',
    on: 'Namespace or Deployment',
    writtenBy: 'you',
    values: '`required`',
    meaning:
      'A held rollout whose images are on the nodes [waits for an approval](../use.md#approve-a-rollout). In mode `reject`, updates that wait for one are held as in mode `pause`.',
  },
  {
    name: HELD_LABEL,
    kind: 'label',
    on: 'Deployment',
    writtenBy: 'Pullgate (webhook)',
    values: '`true`',
    meaning: 'The Deployment is held. `kubectl get deploy -A -l pullgate.io/held` lists all holds.',
  },
  {
    name: HOLD_ANNOTATION,
    kind: 'annotation',
    on: 'Deployment',
    writtenBy: 'Pullgate (webhook)',
    values: 'compact JSON',
    meaning:
      'The hold: the ImagePreload that it waits for, the hashes of the held and of the running pod template, the running images, when it began, whether the Deployment was paused before, and who approved it when.',
  },
  {
    name: DECIDED_ANNOTATION,
    kind: 'annotation',
    on: 'Deployment',
    writtenBy: 'Pullgate (webhook)',
    values: 'compact JSON',
    meaning:
      'The last [decision](#decisions) about a changed pod template or a hold: its user, its time and its reason. Pullgate emits Events from it.',
  },
  {
    name: BYPASS_ANNOTATION,
    kind: 'annotation',
    on: 'Deployment',
    writtenBy: 'you',
    values: 'a reason that differs from the stored one',
    meaning: 'Releases the update that sets or changes it, without waiting.',
  },
  {
    name: REVERT_ANNOTATION,
    kind: 'annotation',
    on: 'Deployment',
    writtenBy: 'you',
    values: 'a reason',
    meaning:
      'Ends the hold and restores the whole running pod template. Pullgate removes the annotation in the same request.',
  },
  {
    name: APPROVED_ANNOTATION,
    kind: 'annotation',
    on: 'Deployment',
    writtenBy: 'you',
    values: 'the hash of the held pod template',
    meaning:
      'Approves the rollout of that pod template, in the update that sets it. Pullgate records the approval in the hold, and removes the annotation when the hold ends or another pod template is held.',
  },
  {
    name: KEEP_PAUSED_ANNOTATION,
    kind: 'annotation',
    on: 'Deployment',
    writtenBy: 'you',
    values: '`true`',
    meaning: 'The Deployment stays paused when its hold ends.',
  },
  {
    name: MADE_FOR_ANNOTATION,
    kind: 'annotation',
    on: 'ImagePreload',
    writtenBy: 'Pullgate',
    values: 'hashes',
    meaning: 'What Pullgate computed the spec from. An edited spec no longer matches it.',
  },
  {
    name: PULLER_LABEL,
    kind: 'label',
    on: 'Pod',
    writtenBy: 'Pullgate (leader)',
    values: '`true`',
    meaning: 'The pod is a puller pod. Exclude this label from webhooks that change or refuse pods.',
  },
  {
    name: PRELOAD_LABEL,
    kind: 'label',
    on: 'Pod',
    writtenBy: 'Pullgate (leader)',
    values: 'a name',
    meaning: 'The ImagePreload that the puller pod belongs to.',
  },
  {
    name: PULL_LABEL,
    kind: 'label',
    on: 'Pod',
    writtenBy: 'Pullgate (leader)',
    values: 'a hash',
    meaning:
      'What the puller pod pulls and how, without the node. ImagePreloads that need the same pull share its pods.',
  },
  {
    name: ATTEMPT_ANNOTATION,
    kind: 'annotation',
    on: 'Pod',
    writtenBy: 'Pullgate (leader)',
    values: 'a number from 1',
    meaning: 'The number of the attempt to pull this image on this node.',
  },
  {
    name: FIRST_ATTEMPT_ANNOTATION,
    kind: 'annotation',
    on: 'Pod',
    writtenBy: 'Pullgate (leader)',
    values: 'RFC 3339',
    meaning: 'When the first of these attempts began.',
  },
  {
    name: BOOT_ID_ANNOTATION,
    kind: 'annotation',
    on: 'Pod',
    writtenBy: 'Pullgate (leader)',
    values: '`status.nodeInfo.bootID` of the node',
    meaning:
      'The boot of the node that the puller pod was created for. After a reboot Pullgate checks the node again.',
  },
  {
    name: RENEW_ANNOTATION,
    kind: 'annotation',
    on: `Secret \`${CERTIFICATES_SECRET}\``,
    writtenBy: 'you (`certs/certificates.sh renew`)',
    values: '`serving` or `authority`',
    meaning: 'Renews that certificate now. Pullgate removes the annotation with the renewal.',
  },
  {
    name: REGISTERED_BY_LABEL,
    kind: 'label',
    on: 'CustomResourceDefinition, MutatingWebhookConfiguration',
    writtenBy: 'Pullgate beside a cluster',
    values: '`process`',
    meaning: 'A Pullgate process outside the cluster created this object and deletes it when it stops.',
  },
  {
    name: IMAGES_NOT_READY_TAINT,
    kind: 'taint',
    on: 'Node',
    writtenBy: 'you, or what creates your nodes',
    values: 'any',
    meaning:
      'A startup taint: puller pods tolerate it, so a new node gets the images while the taint keeps other pods away. Pullgate neither sets nor removes it.',
  },
];
