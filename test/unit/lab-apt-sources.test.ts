import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withSources } from '../cluster/lab/apt-sources.ts';

test('an entry in the new format gets source packages and keeps everything else', () => {
  const text = `Types: deb
# a comment
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://elsewhere.example/deb
Suites: nodistro
Components: main
`;
  assert.deepEqual(withSources([{ name: 'debian.sources', text }]), [
    {
      name: 'debian.sources',
      text: `Types: deb deb-src
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
    },
  ]);
});

test('an entry in the old format becomes a line for binary and one for source packages', () => {
  const text = `# deb http://commented.example bookworm main
deb [signed-by=/key.gpg arch=amd64] http://mirror.example/debian bookworm main non-free # why
deb-src http://mirror.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb http://security.example/debian-security bookworm-security main
`;
  assert.deepEqual(withSources([{ name: 'sources.list', text }]), [
    {
      name: 'sources.list',
      text: `deb [signed-by=/key.gpg arch=amd64] http://mirror.example/debian bookworm main
deb-src [signed-by=/key.gpg arch=amd64] http://mirror.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb-src http://security.example/debian-security bookworm-security main
`,
    },
  ]);
});

test('files without a Debian 12 entry, and entries that are switched off, vanish', () => {
  const off = 'Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\nEnabled: no\n';
  const other = 'deb http://m.example bookworm stable\ndeb http://m.example trixie main\n';
  assert.deepEqual(
    withSources([
      { name: 'a.sources', text: off },
      { name: 'b.list', text: other },
    ]),
    [],
  );
});

test('the backports come from the mirror of the release, and from no other entry', () => {
  const text = `Types: deb
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: https://security.example/debian-security
Suites: bookworm-security
Components: main
`;
  const list =
    'deb [arch=amd64] http://m.example bookworm main\ndeb http://s.example bookworm-security main\n';
  const sources = withSources(
    [
      { name: 'debian.sources', text },
      { name: 'sources.list', text: list },
    ],
    true,
  );
  assert.deepEqual(
    sources.map((one) => one.text),
    [
      'Types: deb deb-src\nURIs: https://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n',
      'deb [arch=amd64] http://m.example bookworm-backports main\n'.concat(
        'deb-src [arch=amd64] http://m.example bookworm-backports main\n',
      ),
    ],
  );
});
