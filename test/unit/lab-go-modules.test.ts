import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  explain,
  GO_MODULES,
  isBuilt,
  ModulesUnreachable,
  moduleVersion,
  programsFolder,
} from '../cluster/lab/go-modules.ts';
import { neighbour } from '../cluster/lab/neighbours.ts';
import { cacheFolder } from '../cluster/lab/paths.ts';

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pullgate-modules-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('the versions are those that go.mod pins', () => {
  assert.match(moduleVersion('kubernetes-1.37'), /^1\.37\.\d+$/);
  assert.match(moduleVersion('kubernetes-1.34'), /^1\.34\.\d+$/);
  for (const name of GO_MODULES) assert.match(moduleVersion(name), /^\d+\.\d+\.\d+$/);
});

test('a program counts as built once it is in the folder of this very go.mod', (t) => {
  const cache = temporaryFolder(t);
  const folder = programsFolder(cache, 'etcd');
  mkdirSync(folder);
  assert.equal(isBuilt(cache, 'etcd', ['etcd']), false);
  writeFileSync(join(folder, 'etcd'), '');
  assert.equal(isBuilt(cache, 'etcd', ['etcd']), true);
  assert.equal(isBuilt(cache, 'etcd', ['etcd', 'etcdctl']), false);
});

test('two programs of one module are in one folder', () => {
  const folder = programsFolder(cacheFolder(), 'prometheus');
  assert.deepEqual(
    [neighbour('prometheus'), neighbour('promtool')],
    [join(folder, 'prometheus'), join(folder, 'promtool')],
  );
});

/** What the go command printed on such machines, and what the person at the terminal reads. */
const FAILURES: readonly { what: string; printed: string; reads: RegExp; unreachable?: boolean }[] = [
  {
    what: 'GOPROXY is off',
    printed: 'go: k8s.io/kubernetes@v1.37.2: module lookup disabled by GOPROXY=off',
    reads:
      /^the source of Kubernetes 1\.37\.\d+ cannot be fetched through the Go module proxy \(.*GOPROXY=off\)$/,
    unreachable: true,
  },
  {
    what: 'the proxy refuses connections',
    printed:
      'go: cel.dev/expr@v0.25.1: Get "http://127.0.0.1:9/cel.dev/expr/@v/v0.25.1.zip": dial tcp 127.0.0.1:9: connect: connection refused',
    reads: /cannot be fetched .*connection refused/,
    unreachable: true,
  },
  {
    what: 'a source is not the one that go.sum pins',
    printed:
      'verifying k8s.io/api@v0.37.2: checksum mismatch\n\tdownloaded: h1:a\n\tgo.sum: h1:b\n\nSECURITY ERROR',
    reads: /is not what go\.sum pins.*nothing was built/,
  },
  {
    what: 'the disk is full',
    printed: 'compile: writing output: write /cache/x: no space left on device',
    reads: /the disk became full.*continues from there/,
  },
  {
    what: 'the compiler ran out of memory',
    printed: 'k8s.io/api/core/v1: /go/compile: signal: killed',
    reads: /too little memory.*continues from there/,
  },
  {
    what: 'the compiler is too old',
    printed: "go: errors parsing go.mod:\ngo.mod:3: invalid go version '1.26.0'",
    reads: /the Go compiler is too old for Kubernetes/,
  },
  {
    what: 'the newer compiler cannot be fetched',
    printed: 'go: download go1.26.8 for linux/amd64: toolchain not available',
    reads: /the Go compiler is too old for Kubernetes/,
  },
  {
    what: 'anything else',
    printed: 'main.go:1:1: expected package',
    reads: /^building Kubernetes 1\.37\.\d+ failed; the end of \/log:\nmain\.go:1:1: expected package$/,
  },
];
for (const { what, printed, reads, unreachable = false } of FAILURES) {
  test(`a failed build is explained: ${what}`, () => {
    const error = explain(printed, 'kubernetes-1.37', '/log');
    assert.match(error.message, reads);
    assert.equal(error instanceof ModulesUnreachable, unreachable);
  });
}
