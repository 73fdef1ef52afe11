import { join } from 'node:path';
import { flags } from '../lab/flags.ts';
import type { Ground } from '../lab/ground.ts';
import type { Program } from './bound-process.ts';
import type { Credentials } from './credentials.ts';

export interface Plan {
  readonly ground: Pick<Ground, 'tools' | 'version'>;
  /** For everything that it writes. */
  readonly folder: string;
  readonly credentials: Credentials;
  readonly ports: { readonly etcd: number; readonly peer: number; readonly api: number };
}

export function etcd({ ground, folder, ports }: Plan): Program {
  const client = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.peer}`;
  return {
    name: 'etcd',
    argv: [
      'etcd',
      '--name=scale',
      `--data-dir=${join(folder, 'etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=scale=${peer}`,
      // What it holds goes when it goes.
      '--unsafe-no-fsync',
      // The default of 2 GB is what an hour of churn writes between two compactions and the reuse of their pages.
      `--quota-backend-bytes=${8 * 1024 ** 3}`,
      '--logger=zap',
    ],
    env: { ...ground.tools.env, ...(process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {}) },
  };
}

export function apiServer({ ground, credentials, ports }: Plan): Program {
  return {
    name: 'kube-apiserver',
    argv: [
      'kube-apiserver',
      `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${ports.api}`,
      // It takes no loopback address here, and a namespace without a default route has no other: one that is nobody's.
      '--advertise-address=192.0.2.1',
      '--endpoint-reconciler-type=none',
      `--tls-cert-file=${credentials.certificate}`,
      `--tls-private-key-file=${credentials.key}`,
      `--token-auth-file=${credentials.tokens}`,
      `--service-account-key-file=${credentials.serviceAccountPublic}`,
      `--service-account-signing-key-file=${credentials.serviceAccountPrivate}`,
      '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
      '--authorization-mode=RBAC',
      '--service-cluster-ip-range=10.202.0.0/16',
      // Nobody here takes its taint off new nodes: that is the node lifecycle controller's.
      '--disable-admission-plugins=TaintNodesByCondition',
      // The kubelets are one client with the calls of thousands, which fairness between clients would hold back.
      '--enable-priority-and-fairness=false',
      '--max-requests-inflight=3000',
      '--max-mutating-requests-inflight=2000',
      '--event-ttl=10m',
      '--etcd-compaction-interval=1m',
      '--profiling=false',
    ],
    env: ground.tools.env,
  };
}

/** Those that act on what a gated cluster changes. Without node lifecycle nodes without heartbeats stay ready. */
const CONTROLLERS = [
  'deployment',
  'replicaset',
  'garbagecollector',
  'namespace',
  'serviceaccount',
  'podgc',
  'clusterrole-aggregation',
];

export function controllerManager({ ground, folder, credentials }: Plan): Program {
  return {
    name: 'kube-controller-manager',
    argv: [
      'kube-controller-manager',
      `--kubeconfig=${credentials.kubeconfig}`,
      `--controllers=${CONTROLLERS.join(',')}`,
      '--use-service-account-credentials=false',
      '--leader-elect=false',
      '--secure-port=0',
      // Its defaults, 20 a second, would be what is measured.
      '--kube-api-qps=2000',
      '--kube-api-burst=4000',
      '--concurrent-deployment-syncs=20',
      '--concurrent-replicaset-syncs=20',
      // It makes the folder that it watches; by default that is one of the machine's.
      `--flex-volume-plugin-dir=${join(folder, 'flex-volumes')}`,
      ...flags(ground.version, '').controllerManager,
    ],
    env: ground.tools.env,
  };
}
