import { HUB_ADDRESS, REGISTRY_HOSTS, type RegistryName } from './addresses.ts';
import type { Ground } from './ground.ts';
import { state } from './paths.ts';
import type { Component } from './process-table.ts';

export const PRIVATE_CREDENTIALS = { username: 'lab', password: 'lab-password' };

/**
 * bcrypt of the password above (the only hash that docker-registry takes); it guards test images in a
 * closed network.
 */
const HTPASSWD = 'lab:$2y$05$enEy.T5OE6f94kL.j04BXeTPrvHU1aRmz5VGLiP90SDtusvD5vl9O\n';

/** nginx counts 1m as 1024 × 1024 bytes; per connection, so one heavy layer comes at this rate. */
const SLOW_RATE = '10m';

export function registry(ground: Ground, name: RegistryName): Component {
  return name === 'slow' ? slowFront(ground) : storing(ground, name);
}

function storing(ground: Ground, name: 'registry' | 'private'): Component {
  const config = state('registry', `${name}.json`);
  const htpasswd = state('registry', 'htpasswd');
  const { port } = REGISTRY_HOSTS[name];
  const settings = {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: state('registry', name) }, delete: { enabled: true } },
    http: { addr: `${HUB_ADDRESS}:${port}`, secret: 'one process, so nothing to share' },
    ...(name === 'private' ? { auth: { htpasswd: { realm: 'lab', path: htpasswd } } } : {}),
  };
  return {
    name: `hub/${name}`,
    argv: ['docker-registry', 'serve', config],
    env: ground.tools.env,
    files: {
      [config]: JSON.stringify(settings, null, 2),
      ...(name === 'private' ? { [htpasswd]: HTPASSWD } : {}),
    },
    listens: { port },
  };
}

function slowFront(ground: Ground): Component {
  const folder = state('registry', 'slow');
  const config = `${folder}/nginx.conf`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const text = `user root;
daemon off;
master_process off;
error_log stderr warn;
pid ${folder}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
${temporary.map((kind) => `  ${kind}_temp_path ${folder}/${kind};`).join('\n')}
  server {
    listen ${HUB_ADDRESS}:${REGISTRY_HOSTS.slow.port};
    client_max_body_size 0;
    location / {
      proxy_pass http://${HUB_ADDRESS}:${REGISTRY_HOSTS.registry.port};
      proxy_set_header Host $http_host;
      proxy_max_temp_file_size 0;
      limit_rate ${SLOW_RATE};
    }
  }
}
`;
  return {
    name: 'hub/slow',
    argv: ['nginx', '-e', 'stderr', '-p', folder, '-c', config],
    env: ground.tools.env,
    files: { [config]: text },
    listens: { port: REGISTRY_HOSTS.slow.port },
  };
}
