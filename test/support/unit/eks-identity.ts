import { asArray, asObject, asString, asStringMap, at, type JsonObject } from '../../../src/json.ts';

/**
 * What the Amazon EKS Pod Identity Webhook (github.com/aws/amazon-eks-pod-identity-webhook, pkg/handler/handler.go) adds to
 * the pods of a ServiceAccount that has a role in AWS, with the values that it has on EKS.
 */
export interface EksIdentity {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string>>;
  /** Name of the volume with the token. */
  readonly volume: string;
  readonly mountPath: string;
  readonly audience: string;
  readonly file: string;
}

const REGION = { AWS_STS_REGIONAL_ENDPOINTS: 'regional', AWS_DEFAULT_REGION: 'eu-1', AWS_REGION: 'eu-1' };
const IRSA_PATH = '/var/run/secrets/eks.amazonaws.com/serviceaccount';
const POD_IDENTITY_PATH = '/var/run/secrets/pods.eks.amazonaws.com/serviceaccount';

export const EKS_IDENTITIES: readonly EksIdentity[] = [
  {
    name: 'IAM Roles for Service Accounts',
    labels: {},
    variables: {
      ...REGION,
      AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/shop',
      AWS_WEB_IDENTITY_TOKEN_FILE: `${IRSA_PATH}/token`,
    },
    volume: 'aws-iam-token',
    mountPath: IRSA_PATH,
    audience: 'sts.amazonaws.com',
    file: 'token',
  },
  {
    name: 'EKS Pod Identity',
    labels: { 'eks.amazonaws.com/pod-identity': 'enabled' },
    variables: {
      ...REGION,
      AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://169.254.170.23/v1/credentials',
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: `${POD_IDENTITY_PATH}/eks-pod-identity-token`,
    },
    volume: 'eks-pod-identity-token',
    mountPath: POD_IDENTITY_PATH,
    audience: 'pods.eks.amazonaws.com',
    file: 'eks-pod-identity-token',
  },
];

/** The JSON patch that the webhook answers with. */
export function identityPatch(identity: EksIdentity, pod: JsonObject): JsonObject[] {
  const { labels, volume, audience, file } = identity;
  const containers = (list: string) =>
    asArray(at(pod, 'spec', list)).map((one) => withIdentity(identity, asObject(one)));
  const token = { audience, expirationSeconds: 86_400, path: file };
  const projected = { sources: [{ serviceAccountToken: token }] };
  const set = (path: string, value: unknown) => ({ op: 'add', path, value });
  const initContainers = containers('initContainers');
  return [
    set('/metadata/labels', { ...asStringMap(at(pod, 'metadata', 'labels')), ...labels }),
    set('/spec/volumes', [{ name: volume, projected }, ...asArray(at(pod, 'spec', 'volumes'))]),
    set('/spec/containers', containers('containers')),
    ...(initContainers.length > 0 ? [set('/spec/initContainers', initContainers)] : []),
  ];
}

function withIdentity(identity: EksIdentity, container: JsonObject): JsonObject {
  const { variables, volume: name, mountPath } = identity;
  const taken = asArray(container['env']).map((one) => asString(at(one, 'name')));
  const added = Object.entries(variables)
    .filter(([variable]) => !taken.includes(variable))
    .map(([variable, value]) => ({ name: variable, value }));
  return {
    ...container,
    env: [...asArray(container['env']), ...added],
    volumeMounts: [...asArray(container['volumeMounts']), { name, readOnly: true, mountPath }],
  };
}
