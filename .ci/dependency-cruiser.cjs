// The folders of src, and what each may import besides itself. The arrows point one way.
const FOLDERS = {
  'api/template': [],
  api: ['api/template'],
  admission: ['api', 'api/template'],
  cluster: [],
  observe: [],
  certificates: ['cluster'],
  install: ['cluster'],
  'preloads/nodes': ['api', 'api/template'],
  'preloads/pods': ['api', 'api/template', 'cluster'],
  'preloads/assess': ['api', 'api/template', 'preloads/nodes', 'preloads/pods'],
  'preloads/budget': ['preloads/pods'],
  preloads: [
    'api',
    'api/template',
    'cluster',
    'preloads/nodes',
    'preloads/pods',
    'preloads/assess',
    'preloads/budget',
  ],
  deployments: [
    'api',
    'api/template',
    'cluster',
    'preloads',
    'preloads/assess',
    'preloads/nodes',
    'preloads/pods',
  ],
};
const EVERYWHERE =
  'src/((errors|json|log|log-limit|token-bucket|limiter|connection-limit|clock|text)|api/names)\\.ts$';

// The same for test: the tests over support over the clusters.
const TEST_FOLDERS = {
  'cluster/lab': [],
  support: ['cluster/lab'],
  'cluster/simulated': ['cluster/lab', 'support'],
  demo: ['support', 'cluster'],
  bench: ['support', 'cluster', 'demo'],
  stress: ['support', 'cluster'],
  suite: ['cluster/lab'],
};

/** Matches the files of the folders themselves, without those of their subfolders. */
const filesOf = (folders) => `^src/(${folders.join('|')})/[^/]+$`;

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
    ...Object.entries(FOLDERS).map(([folder, may]) => ({
      name: `${folder}-imports`,
      comment: `src/${folder} may import from: ${[folder, ...may].join(', ')}`,
      severity: 'error',
      from: { path: filesOf([folder]) },
      to: { path: '^src/.+/', pathNot: [filesOf([folder, ...may]), EVERYWHERE] },
    })),
    ...Object.entries(TEST_FOLDERS).map(([folder, may]) => ({
      name: `test-${folder}-imports`,
      comment: `test/${folder} may import from: ${[folder, ...may].join(', ')}`,
      severity: 'error',
      from: { path: `^test/${folder}/` },
      to: { path: '^test/', pathNot: `^test/(${[folder, ...may].join('|')})/` },
    })),
    {
      name: 'nothing-imports-tests',
      comment: 'What tests share is in test/support.',
      severity: 'error',
      from: {},
      to: { path: '\\.test\\.ts$' },
    },
    {
      name: 'api-server-only-in-cluster',
      comment: 'src/cluster is the only folder that talks to the API server.',
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
