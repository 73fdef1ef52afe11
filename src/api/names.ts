/** Every name that Pullgate puts on an object or reads from one. They are a public contract. */

export const GROUP = 'pullgate.io';
/** Of the ImagePreload, deploy/crd.yaml. */
export const API_VERSION = `${GROUP}/v1alpha1`;
/** Where the API server has ImagePreloads. */
export const API_GROUP_PATH = `/apis/${API_VERSION}`;
export const IMAGE_PRELOAD_KIND = 'ImagePreload';

/** Namespace label, one of `MODES`. On a Deployment, `off` opts that one out. */
export const MODE_LABEL = 'pullgate.io/mode';
export const MODES = ['pause', 'reject', 'audit'] as const;
/**
 * What happens to an update that needs a pull. `pause`: it is stored, and held. `reject`: it is denied until its images
 * are there. `audit`: it goes ahead, and is told of.
 */
export type Mode = (typeof MODES)[number];
/** `"true"` on a Deployment exactly while it carries a hold: `kubectl get deploy -A -l pullgate.io/held`. */
export const HELD_LABEL = 'pullgate.io/held';

/** The hold itself, compact JSON: see `hold/hold.ts`. */
export const HOLD_ANNOTATION = 'pullgate.io/hold';
/** The last decision on a changed template, compact JSON: see `hold/decided.ts`. */
export const DECIDED_ANNOTATION = 'pullgate.io/decided';
/** `"<reason>"`: lets this one update through. Honoured by the update that sets or changes it. */
export const BYPASS_ANNOTATION = 'pullgate.io/bypass';
/**
 * `"<reason>"`: ends the hold by going back to the running pod template, whole. Honoured by the update that sets or changes it while
 * the Deployment is held. Never stored then.
 */
export const REVERT_ANNOTATION = 'pullgate.io/revert';
/** `"true"`: leave the Deployment paused when the hold ends. */
export const KEEP_PAUSED_ANNOTATION = 'pullgate.io/keep-paused';

/** Settings of one Deployment, instead of the gate's flags: see `hold/settings.ts`. `3` or `25%`: how many nodes pull at a time. */
export const PARALLELISM_ANNOTATION = 'pullgate.io/parallelism';
/** `3` or `50%`: how many nodes must have the images before a release. */
export const MIN_NODES_ANNOTATION = 'pullgate.io/min-nodes';
/** A node that is still pulling after so many seconds is not waited for. */
export const NODE_TIMEOUT_ANNOTATION = 'pullgate.io/node-timeout-seconds';
/** Without a further node ready for so many seconds, the rollout goes on without the rest. */
export const DEADLINE_ANNOTATION = 'pullgate.io/deadline-seconds';
/** A label selector: only nodes that it selects as well get the images beforehand. The pods may land elsewhere. */
export const NODE_SELECTOR_ANNOTATION = 'pullgate.io/node-selector';

/** All annotations of a Deployment that the leader reads. The bypass and the revert are read by admission alone. */
export const LEADER_ANNOTATIONS: readonly string[] = [
  HOLD_ANNOTATION,
  DECIDED_ANNOTATION,
  KEEP_PAUSED_ANNOTATION,
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
export const DEPLOYMENT_LABELS: readonly string[] = [MODE_LABEL, HELD_LABEL];

/** On an ImagePreload that the gate made: what its spec was computed from, see `preload/made-for.ts`. */
export const MADE_FOR_ANNOTATION = 'pullgate.io/made-for';

/** On every puller pod: the watch selects by it. */
export const PULLER_LABEL = 'pullgate.io/puller';
/** On a puller pod: name of the ImagePreload that made it. */
export const PRELOAD_LABEL = 'pullgate.io/preload';
/** On a puller pod: hash of what is pulled and how, without the node. Preloads that need the same pull share the pod. */
export const PULL_LABEL = 'pullgate.io/pull';
/** On a puller pod: which attempt on its node this is, counted from 1, and when the first one began. */
export const ATTEMPT_ANNOTATION = 'pullgate.io/attempt';
export const FIRST_ATTEMPT_ANNOTATION = 'pullgate.io/first-attempt-at';
/** The boot of the node that the pod was made for: `status.nodeInfo.bootID`. */
export const BOOT_ID_ANNOTATION = 'pullgate.io/boot-id';

/** A taint that keeps pods from a new node until its images are there. Pullgate never sets it. */
export const IMAGES_NOT_READY_TAINT = 'pullgate.io/images-not-ready';

/** The PriorityClass of puller pods: low, non-preempting. A pod that names a missing one is refused. */
export const PRIORITY_CLASS = 'pullgate-preload';

/** The gate's namespace and ServiceAccount, deploy/service-account.yaml. */
export const GATE_NAMESPACE = 'pullgate';
export const GATE_SERVICE_ACCOUNT = 'pullgate';
/** In the gate's namespace: who holds it runs the controllers. */
export const LEASE = 'pullgate';
/** In the gate's namespace: the authority and the serving certificate of all replicas, see `certs/certificate-secret.ts`. */
export const CERTIFICATES_SECRET = 'pullgate-certificates';
/** On that Secret: `serving` or `authority`, to be renewed now. The gate takes it away with the renewal. */
export const RENEW_ANNOTATION = 'pullgate.io/renew';
/** deploy/webhook-configuration.yaml. */
export const WEBHOOK_CONFIGURATION = 'pullgate';
/** `process` on the CRD and the webhook configuration that a gate outside the cluster made and will take away. */
export const REGISTERED_BY_LABEL = 'pullgate.io/registered-by';

/** Set by the Deployment controller, counted up by each rollout that it begins. */
export const REVISION_ANNOTATION = 'deployment.kubernetes.io/revision';

export const MODE_OFF = 'off';
