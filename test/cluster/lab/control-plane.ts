import { HUB_ADDRESS, SERVICE_NETWORK } from './addresses.ts';
import { AUDIT } from './audit-log.ts';
import { identityFiles, PKI_FILES } from './certificates.ts';
import { flags } from './flags.ts';
import { type Ground, serverUrl } from './ground.ts';
import { kubeconfig } from './kubeconfig.ts';
import { state } from './paths.ts';
import type { Component } from './process-table.ts';

const ETCD = 'http://127.0.0.1:2379';
const API_SOCKET = state('api-server.sock');

export function etcd(ground: Ground): Component {
  return {
    name: 'hub/etcd',
    argv: [
      'etcd',
      '--name=lab',
      `--data-dir=${state('etcd')}`,
      `--listen-client-urls=${ETCD}`,
      `--advertise-client-urls=${ETCD}`,
      '--listen-peer-urls=http://127.0.0.1:2380',
      '--initial-advertise-peer-urls=http://127.0.0.1:2380',
      '--initial-cluster=lab=http://127.0.0.1:2380',
      // A killed process loses nothing by that; only a machine that stops would, and its lab starts over.
      '--unsafe-no-fsync',
      '--logger=zap',
    ],
    // The fallback's etcd refuses arm64 without it.
    env: { ...ground.tools.env, ...(process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {}) },
    listens: { port: 2379 },
  };
}

export function apiServer(ground: Ground): Component {
  const serving = identityFiles('kube-apiserver');
  const admin = identityFiles('admin');
  const frontProxy = identityFiles('front-proxy-client');
  const issuer = 'https://kubernetes.default.svc.cluster.local';
  return {
    name: 'hub/kube-apiserver',
    argv: [
      'kube-apiserver',
      `--etcd-servers=${ETCD}`,
      '--bind-address=0.0.0.0',
      `--secure-port=${ground.port}`,
      `--advertise-address=${HUB_ADDRESS}`,
      `--client-ca-file=${PKI_FILES.ca}`,
      `--tls-cert-file=${serving.certificate}`,
      `--tls-private-key-file=${serving.key}`,
      `--service-account-key-file=${PKI_FILES.serviceAccountPublic}`,
      `--service-account-signing-key-file=${PKI_FILES.serviceAccountPrivate}`,
      `--service-account-issuer=${issuer}`,
      '--authorization-mode=Node,RBAC',
      `--service-cluster-ip-range=${SERVICE_NETWORK}`,
      '--allow-privileged=true',
      // Beside those that are on by default. GPU clusters have it; it only acts on pods that request extended resources.
      '--enable-admission-plugins=ExtendedResourceToleration',
      '--kubelet-preferred-address-types=InternalIP',
      `--kubelet-client-certificate=${admin.certificate}`,
      `--kubelet-client-key=${admin.key}`,
      `--requestheader-client-ca-file=${PKI_FILES.frontProxyCa}`,
      '--requestheader-allowed-names=front-proxy-client',
      '--requestheader-username-headers=X-Remote-User',
      '--requestheader-group-headers=X-Remote-Group',
      '--requestheader-extra-headers-prefix=X-Remote-Extra-',
      `--proxy-client-cert-file=${frontProxy.certificate}`,
      `--proxy-client-key-file=${frontProxy.key}`,
      // No kube-proxy runs in the hub: webhooks that are Services are called at their pods' addresses.
      '--enable-aggregator-routing=true',
      '--profiling=false',
      ...AUDIT.argv,
    ],
    env: ground.tools.env,
    files: AUDIT.files,
    listens: { port: ground.port },
  };
}

export function controllerManager(ground: Ground): Component {
  const config = state('kube-controller-manager.kubeconfig');
  return {
    name: 'hub/kube-controller-manager',
    argv: [
      'kube-controller-manager',
      `--kubeconfig=${config}`,
      `--authentication-kubeconfig=${config}`,
      `--authorization-kubeconfig=${config}`,
      `--service-account-private-key-file=${PKI_FILES.serviceAccountPrivate}`,
      `--root-ca-file=${PKI_FILES.ca}`,
      '--use-service-account-credentials=true',
      '--leader-elect=false',
      '--bind-address=127.0.0.1',
      // It makes the folder that it watches; by default that is one of the machine's.
      `--flex-volume-plugin-dir=${state('flex-volumes')}`,
      // By default an autoscaler looks every 15 s, and a test would wait for most of that.
      '--horizontal-pod-autoscaler-sync-period=5s',
      ...flags(ground.version, '').controllerManager,
    ],
    env: ground.tools.env,
    files: { [config]: kubeconfig(serverUrl(ground), identityFiles('kube-controller-manager')) },
    listens: { port: 10257 },
  };
}

export function scheduler(ground: Ground): Component {
  const config = state('kube-scheduler.kubeconfig');
  return {
    name: 'hub/kube-scheduler',
    argv: [
      'kube-scheduler',
      `--kubeconfig=${config}`,
      `--authentication-kubeconfig=${config}`,
      `--authorization-kubeconfig=${config}`,
      '--leader-elect=false',
      '--bind-address=127.0.0.1',
      ...flags(ground.version, '').scheduler,
    ],
    env: ground.tools.env,
    files: { [config]: kubeconfig(serverUrl(ground), identityFiles('kube-scheduler')) },
    listens: { port: 10259 },
  };
}

/**
 * The machine's way to the API server: a loopback port, a Unix socket (the file system is what both sides
 * share), and the hub's loopback.
 */
export function apiServerDoor(ground: Ground): { inside: Component; outside: Component } {
  return {
    inside: {
      name: 'hub/socat',
      argv: [
        'socat',
        `UNIX-LISTEN:${API_SOCKET},fork,unlink-early,mode=600`,
        `TCP:127.0.0.1:${ground.port},nodelay`,
      ],
      env: ground.tools.env,
      listens: { socket: API_SOCKET },
    },
    outside: {
      name: 'machine/socat',
      argv: [
        'socat',
        `TCP-LISTEN:${ground.port},bind=127.0.0.1,reuseaddr,fork,backlog=128,nodelay`,
        `UNIX-CONNECT:${API_SOCKET}`,
      ],
      env: ground.tools.env,
      listens: { port: ground.port },
    },
  };
}
