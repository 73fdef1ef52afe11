// The rooms of the data's way, in order. A room imports from its own and from those listed for it, nothing else.
const ROOMS = {
  template: [],
  hold: ['template'],
  admission: ['hold', 'template'],
  cluster: [],
  certs: [],
  observe: [],
  registration: ['certs', 'cluster'],
  preload: ['template', 'hold', 'cluster'],
  release: ['template', 'hold', 'preload', 'cluster'],
};
const EVERYWHERE =
  'src/(errors|json|names|log|log-limit|token-bucket|limiter|connection-limit|clock|text)\\.ts$';

module.exports = {
  forbidden: [
    { name: 'no-cycle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'src-stands-alone',
      comment: 'The product never imports its tests or its lab, nor a development dependency.',
      severity: 'error',
      from: { path: '^(src|certs)/' },
      to: { path: '^test/' },
    },
    {
      name: 'no-dev-dependency',
      severity: 'error',
      from: { path: '^(src|certs)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'only-main-composes',
      severity: 'error',
      from: { path: '^src/[^/]+/' },
      to: { path: '^src/[^/]+\\.ts$', pathNot: EVERYWHERE },
    },
    ...Object.entries(ROOMS).map(([room, may]) => ({
      name: `${room}-imports`,
      comment: `src/${room} may import from: ${[room, ...may].join(', ')}`,
      severity: 'error',
      from: { path: `^src/${room}/` },
      to: { path: '^src/[^/]+/', pathNot: `^src/(${[room, ...may].join('|')})/` },
    })),
    {
      name: 'api-server-only-in-cluster',
      comment: 'src/cluster is the only room that talks to the API server.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cluster/' },
      to: { path: 'node_modules/(undici|@kubernetes/client-node)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
