import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { dirname } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { GateError } from '../errors.ts';
import { asObject, asString } from '../json.ts';
import type { Cluster } from './credentials.ts';

/**
 * A context of a kubeconfig file, the current one if none is named. The file is always named by the operator: an
 * ambient KUBECONFIG may be production.
 *
 * Certificates are read once. Tokens, from files and exec plugins too, are read anew after the server refused one.
 * @throws GateError PG_KUBECONFIG_*
 */
export async function loadKubeconfig(file: string, context: string | undefined): Promise<Cluster> {
  let config: KubeConfig | undefined = await parse(file, context);
  const name = config.getCurrentContext();
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new GateError('PG_KUBECONFIG_INVALID', {
      file,
      detail: `context ${name} names no existing cluster`,
    });
  }
  if (config.getCurrentUser() === null) {
    throw new GateError('PG_KUBECONFIG_INVALID', { file, detail: `context ${name} names no existing user` });
  }
  if (!URL.canParse(cluster.server) || new URL(cluster.server).protocol !== 'https:') {
    throw new GateError('PG_KUBECONFIG_INVALID', {
      file,
      detail: `server ${cluster.server} is no https:// address`,
    });
  }
  if (cluster.proxyUrl !== undefined) {
    throw new GateError('PG_KUBECONFIG_INVALID', { file, detail: 'proxy-url is not supported' });
  }

  const tls = await credentials(config, file);
  return {
    name,
    server: cluster.server,
    ca: pem(tls.ca),
    skipTlsVerify: cluster.skipTLSVerify,
    serverName: cluster.tlsServerName,
    cert: pem(tls.cert),
    key: pem(tls.key),
    headers: staticHeaders(tls),
    async token() {
      config ??= await parse(file, name);
      return bearer(await credentials(config, file));
    },
    invalidateToken() {
      config = undefined;
    },
  };
}

async function parse(file: string, context: string | undefined): Promise<KubeConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new GateError('PG_KUBECONFIG_MISSING', { file, detail: String(error) }, error);
  }
  // Loaded only if there is a kubeconfig, because it takes 390 ms and 90 MB.
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    config.loadFromString(text);
    config.makePathsAbsolute(dirname(file));
  } catch (error) {
    throw new GateError('PG_KUBECONFIG_INVALID', { file, detail: messageOf(error) }, error);
  }
  if (context !== undefined) config.setCurrentContext(context);
  const contexts = config.getContexts().map(({ name }) => name);
  if (!contexts.includes(config.getCurrentContext())) {
    throw new GateError('PG_KUBECONFIG_CONTEXT', {
      file,
      context: config.getCurrentContext() ?? '(none is current)',
      contexts: contexts.join(', ') || 'none',
    });
  }
  return config;
}

/** Everything that client-node knows about authentication, as options for `https.request`. */
async function credentials(config: KubeConfig, file: string): Promise<RequestOptions> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    const context = config.getCurrentContext();
    throw new GateError('PG_KUBECONFIG_CREDENTIALS', { file, context, detail: messageOf(error) }, error);
  }
  return options;
}

function bearer(options: RequestOptions): string | undefined {
  return asString(asObject(options.headers)['Authorization'])
    ?.replace(/^Bearer /, '')
    .trim();
}

function staticHeaders(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(asObject(options.headers))) {
    if (name !== 'Authorization' && typeof value === 'string') headers[name] = value;
  }
  if (typeof options.auth === 'string') {
    headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  }
  return headers;
}

function pem(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return Buffer.isBuffer(value) ? value.toString('utf8') : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
