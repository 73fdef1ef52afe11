import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PullFailureReason } from '../../src/preloads/pods/failure-reasons.ts';
import { classifyPullFailure, registryMessage } from '../../src/preloads/pods/pull-failure.ts';

const IMAGE = 'registry.example.com/shop/web:2';
const URL = 'https://registry.example.com/v2/shop/web';

/** What the kubelet has of containerd's CRI plugin. */
function containerd(error: string, code = 'Unknown'): string {
  return `rpc error: code = ${code} desc = failed to pull and unpack image "${IMAGE}": ${error}`;
}
const resolve = (error: string, code?: string) =>
  containerd(`failed to resolve reference "${IMAGE}": ${error}`, code);
const head = (error: string) => resolve(`failed to do request: Head "${URL}/manifests/2": ${error}`);
const copy = (error: string, code?: string) =>
  containerd(`failed to copy: httpReadSeeker: failed open: ${error}`, code);
const unknown = (error: string) => `rpc error: code = Unknown desc = ${error}`;
const docker = (error: string) => unknown(`Error response from daemon: ${error}`);

const MESSAGES: readonly (readonly [string, PullFailureReason, string])[] = [
  // containerd
  ['a missing tag', 'NotFound', resolve(`${IMAGE}: not found`, 'NotFound')],
  [
    'a missing tag, containerd 2 by its transfer service',
    'NotFound',
    containerd(`failed to resolve image: ${IMAGE}: not found`),
  ],
  [
    'a missing tag, without the RPC prefix',
    'NotFound',
    resolve(`${IMAGE}: not found`).replace(/^rpc error: code = \w+ desc = /, ''),
  ],
  [
    'a missing layer',
    'NotFound',
    copy(
      'could not fetch content descriptor sha256:1cf5f1 (application/vnd.oci.image.config.v1+json) from remote: not found',
      'NotFound',
    ),
  ],
  [
    'a missing manifest of an index',
    'NotFound',
    copy(`content at ${URL}/manifests/sha256:1cf5f1 not found: not found`, 'NotFound'),
  ],
  [
    'a status 404',
    'NotFound',
    resolve(`unexpected status from HEAD request to ${URL}/manifests/2: 404 Not Found`),
  ],
  [
    'a repository that needs credentials',
    'Unauthorized',
    resolve(
      'pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    ),
  ],
  [
    'a refused login',
    'Unauthorized',
    resolve(
      'pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials',
    ),
  ],
  [
    'a token that is refused',
    'Unauthorized',
    resolve(
      'failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://auth.example.com/token: 401 Unauthorized',
    ),
  ],
  [
    'an anonymous token that is refused',
    'Unauthorized',
    resolve('failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized'),
  ],
  [
    'a status 403',
    'Unauthorized',
    resolve(`unexpected status from HEAD request to ${URL}/manifests/2: 403 Forbidden`),
  ],
  [
    'a status 401 of a host',
    'Unauthorized',
    resolve('pulling from host registry.example.com failed with status code [manifests 2]: 401 Unauthorized'),
  ],
  ['an unknown host', 'Dns', head('dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host')],
  [
    'a name server in trouble',
    'Dns',
    head('dial tcp: lookup registry.example.com on 10.96.0.10:53: server misbehaving'),
  ],
  [
    'a name server that does not answer',
    'Dns',
    head(
      'dial tcp: lookup registry.example.com on 10.96.0.10:53: read udp 10.0.0.2:41234->10.96.0.10:53: i/o timeout',
    ),
  ],
  ['a refused connection', 'ConnectionRefused', head('dial tcp 192.0.2.15:443: connect: connection refused')],
  [
    'an unknown CA',
    'UnknownAuthority',
    head('tls: failed to verify certificate: x509: certificate signed by unknown authority'),
  ],
  [
    'an unknown CA, before Go 1.20',
    'UnknownAuthority',
    head('x509: certificate signed by unknown authority'),
  ],
  [
    'an unknown CA of the token server',
    'UnknownAuthority',
    resolve(
      'failed to authorize: failed to fetch anonymous token: Get "https://auth.example.com/token?scope=repository%3Ashop%2Fweb%3Apull&service=registry": x509: certificate signed by unknown authority',
    ),
  ],
  ['a connection that times out', 'Timeout', head('dial tcp 192.0.2.15:443: i/o timeout')],
  [
    'a connection that the system times out',
    'Timeout',
    head('dial tcp 192.0.2.15:443: connect: connection timed out'),
  ],
  ['a slow TLS handshake', 'Timeout', head('net/http: TLS handshake timeout')],
  ['a deadline', 'Timeout', copy('context deadline exceeded', 'DeadlineExceeded')],
  ['a pull without progress', 'Timeout', containerd('context canceled', 'Canceled')],
  [
    'a rate limit',
    'TooManyRequests',
    copy(
      `unexpected status code ${URL}/manifests/sha256:8d0bff: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.`,
    ),
  ],
  [
    'a registry that is down',
    'ServerError',
    copy(
      `unexpected status code ${URL}/blobs/sha256:566e42?ns=registry.example.com: 503 Service Unavailable`,
    ),
  ],
  [
    'a token server that is down',
    'ServerError',
    resolve(
      'failed to authorize: failed to fetch anonymous token: unexpected status: 503 Service Unavailable',
    ),
  ],
  ['a proxy that is down', 'ServerError', head('Service Unavailable')],
  [
    "a proxy's 502 whose page says not found",
    'ServerError',
    copy(
      `unexpected status code ${URL}/blobs/sha256:566e42: 502 Bad Gateway - Server message: unknown: upstream not found`,
    ),
  ],
  [
    'a full registry',
    'ServerError',
    resolve(
      `unexpected status from HEAD request to ${URL}/manifests/2: 500 Internal Server Error - Server message: write: no space left on device`,
    ),
  ],
  [
    'a full node',
    'NoSpace',
    containerd(
      'failed to extract layer sha256:5dacd7: mount callback failed on /var/lib/containerd/tmpmounts/containerd-mount2529: write /var/lib/containerd/tmpmounts/containerd-mount2529/lib/libc.so: no space left on device: unknown',
    ),
  ],
  [
    "a layer that the node's own store lost",
    'Unknown',
    containerd(
      'failed to extract layer sha256:7da916: failed to get reader from content store: blob sha256:9e2fb2 expected at /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/9e2fb2: blob not found: not found',
      'NotFound',
    ),
  ],
  [
    'a file that the node may not write',
    'Unknown',
    containerd(
      'failed to extract layer sha256:5dacd7: mkdir /var/lib/containerd/tmpmounts/x: permission denied: unknown',
    ),
  ],
  ['a proxy that wants a password', 'Unknown', head('Proxy Authentication Required')],
  [
    'plain HTTP where HTTPS was expected',
    'PlainHttp',
    head('http: server gave HTTP response to HTTPS client'),
  ],
  ['a bad request', 'Unknown', copy(`unexpected status code ${URL}/blobs/sha256:566e42: 400 Bad Request`)],
  [
    'a connection that is reset',
    'ConnectionLost',
    head('read tcp 10.0.0.2:41234->192.0.2.15:443: read: connection reset by peer'),
  ],
  ['a connection that ends', 'ConnectionLost', head('EOF')],
  ['a layer that ends early', 'ConnectionLost', containerd('failed to copy: unexpected EOF')],
  [
    'a layer that ends early, containerd 2',
    'ConnectionLost',
    containerd('failed commit on ref "layer-sha256:566e42": unexpected EOF'),
  ],
  [
    'a proxy that goes away',
    'ConnectionLost',
    copy(
      `failed to do request: Get "${URL}/blobs/sha256:566e42": http2: server sent GOAWAY and closed the connection`,
    ),
  ],
  ['a TLS alert', 'TlsFailure', head('remote error: tls: handshake failure')],
  ['another TLS version', 'TlsFailure', head('tls: protocol version not supported')],
  ['something else than TLS', 'TlsFailure', head('tls: first record does not look like a TLS handshake')],
  [
    'an expired certificate',
    'InvalidCertificate',
    head(
      'tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-01-02T00:00:00Z is after 2026-01-01T00:00:00Z',
    ),
  ],
  [
    'a certificate for another host',
    'InvalidCertificate',
    head(
      'tls: failed to verify certificate: x509: certificate is valid for a.example.com, not registry.example.com',
    ),
  ],
  [
    'a certificate without the address',
    'InvalidCertificate',
    head(
      "tls: failed to verify certificate: x509: cannot validate certificate for 192.0.2.15 because it doesn't contain any IP SANs",
    ),
  ],
  ['a network without a route', 'Unreachable', head('dial tcp 192.0.2.15:443: connect: no route to host')],
  ['a network that is away', 'Unreachable', head('dial tcp 192.0.2.15:443: connect: network is unreachable')],
  [
    'a policy of Harbor',
    'PolicyViolation',
    resolve(`unexpected status from HEAD request to ${URL}/manifests/2: 412 Precondition Failed`),
  ],
  [
    "a policy of Harbor with Harbor's words",
    'PolicyViolation',
    copy(
      `unexpected status code ${URL}/manifests/sha256:8d0bff: 412 Precondition Failed - Server message: unknown: current image with 86 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of "Medium" or higher from running.'`,
    ),
  ],
  [
    'an image verifier of containerd 2',
    'PolicyViolation',
    containerd(
      `image verifier bindir blocked pull of ${IMAGE} with digest sha256:8d0bff for reason: not on the list`,
    ),
  ],
  [
    'schema 1, containerd 2',
    'UnsupportedImage',
    containerd(
      'not implemented: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.1, please rebuild the image as "application/vnd.docker.distribution.manifest.v2+json" or "application/vnd.oci.image.manifest.v1+json"',
      'Unimplemented',
    ),
  ],
  [
    'schema 1, containerd 2 by its transfer service',
    'UnsupportedImage',
    containerd('schema 1 image manifests are no longer supported: invalid argument', 'InvalidArgument'),
  ],
  [
    'schema 1, containerd 1.7',
    'UnsupportedImage',
    containerd(
      'failed to unpack image: application/vnd.docker.distribution.manifest.v1+prettyjws not supported',
    ),
  ],
  [
    'no image at all',
    'UnsupportedImage',
    containerd('unrecognised mediatype application/x-tar: not implemented'),
  ],
  [
    'a manifest that is too large',
    'UnsupportedImage',
    resolve(`rejecting 9437184 byte manifest for ${IMAGE}: not found`, 'NotFound'),
  ],
  [
    'a layer store that refuses',
    'LayerRefused',
    copy(`unexpected status from GET request to ${URL}/blobs/sha256:566e42: 403 Forbidden`),
  ],
  [
    'a layer store that refuses, containerd 1',
    'LayerRefused',
    copy(`unexpected status code ${URL}/blobs/sha256:566e42: 403 Forbidden`),
  ],
  [
    'a layer that is another one',
    'DigestMismatch',
    containerd(
      'failed commit on ref "layer-sha256:566e42": unexpected commit digest sha256:1cf5f1, expected sha256:566e42: failed precondition',
      'FailedPrecondition',
    ),
  ],
  [
    'a layer that is too short',
    'DigestMismatch',
    containerd(
      'failed commit on ref "layer-sha256:566e42": "layer-sha256:566e42" failed size validation: 10 != 20: failed precondition',
    ),
  ],
  [
    'a layer that unpacks to another one',
    'DigestMismatch',
    containerd(
      'wrong diff id "sha256:1cf5f1" calculated on extraction "sha256:566e42", desc "sha256:8d0bff"',
    ),
  ],
  [
    'a layer that is cut short on the node',
    'Unknown',
    containerd(
      'failed to extract layer sha256:7da916: mount callback failed on /tmp/x: unexpected EOF: unknown',
    ),
  ],
  ['a node whose configuration knows no host', 'Unknown', resolve('no resolve hosts: not found', 'NotFound')],
  [
    'a runtime that is away',
    'RuntimeUnavailable',
    'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"',
  ],
  [
    'no user name',
    'Unauthorized',
    resolve('failed to authorize: failed to handle basic auth because missing username or secret'),
  ],
  // CRI-O
  [
    'a layer store that refuses, CRI-O',
    'LayerRefused',
    unknown('reading blob sha256:566e42: fetching blob: invalid status code from registry 403 (Forbidden)'),
  ],
  [
    'an image without a signature, CRI-O',
    'SignatureInvalid',
    unknown(
      'copying system image from manifest list: Source image rejected: A signature was required, but no signature exists',
    ),
  ],
  [
    'plain HTTP, CRI-O',
    'PlainHttp',
    unknown(
      'pinging container registry registry.example.com: Get "https://registry.example.com/v2/": http: server gave HTTP response to HTTPS client',
    ),
  ],
  [
    'a media type that is mixed up, CRI-O',
    'UnsupportedImage',
    unknown('unsupported docker v2s2 media type: "application/vnd.oci.image.layer.v1.tar+gzip"'),
  ],
  [
    'a digest of another manifest, CRI-O',
    'DigestMismatch',
    unknown("Digest of source image's manifest would not match destination reference"),
  ],
  [
    'a missing tag, CRI-O',
    'NotFound',
    unknown(
      `initializing source docker://${IMAGE}: reading manifest 2 in registry.example.com/shop/web: manifest unknown`,
    ),
  ],
  [
    'a missing tag, older CRI-O',
    'NotFound',
    unknown('Error reading manifest 2 in registry.example.com/shop/web: manifest unknown: manifest unknown'),
  ],
  [
    'a missing repository, CRI-O',
    'NotFound',
    unknown(
      'reading manifest 2 in registry.example.com/shop/web: name unknown: repository name not known to registry',
    ),
  ],
  [
    'a status 404, CRI-O',
    'NotFound',
    unknown('reading manifest 2 in registry.example.com/shop/web: StatusCode: 404, <html>'),
  ],
  [
    'a private repository, CRI-O',
    'Unauthorized',
    unknown(
      'reading manifest 2 in registry.example.com/shop/web: requested access to the resource is denied',
    ),
  ],
  [
    'a wrong password, CRI-O',
    'Unauthorized',
    unknown(
      'unable to retrieve auth token: invalid username/password: unauthorized: incorrect username or password',
    ),
  ],
  [
    'a private repository that says no more',
    'Unauthorized',
    unknown('reading manifest 2 in registry.example.com/shop/web: unauthorized'),
  ],
  [
    'an unknown host, CRI-O',
    'Dns',
    unknown(
      'pinging container registry registry.example.com: Get "https://registry.example.com/v2/": dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host',
    ),
  ],
  [
    'a refused connection, CRI-O',
    'ConnectionRefused',
    unknown(
      'pinging container registry registry.example.com: Get "https://registry.example.com/v2/": dial tcp 192.0.2.15:443: connect: connection refused',
    ),
  ],
  [
    'a registry that is down, CRI-O',
    'ServerError',
    unknown(
      'pinging container registry registry.example.com: received unexpected HTTP status: 503 Service Unavailable',
    ),
  ],
  [
    'a token server that is down, CRI-O',
    'ServerError',
    unknown('unable to retrieve auth token: invalid status code from registry 503 (Service Unavailable)'),
  ],
  [
    'a rate limit, CRI-O',
    'TooManyRequests',
    unknown(
      'reading manifest 2 in docker.io/library/web: toomanyrequests: You have reached your pull rate limit.',
    ),
  ],
  [
    'a mirror that is down and a registry that has no such tag',
    'NotFound',
    unknown(
      `(Mirrors also failed: [mirror.example.com/shop/web:2: reading manifest 2 in mirror.example.com/shop/web: received unexpected HTTP status: 503 Service Unavailable]): ${IMAGE}: reading manifest 2 in registry.example.com/shop/web: manifest unknown`,
    ),
  ],
  // Docker
  [
    'a configuration that the store refuses, Docker',
    'LayerRefused',
    docker(
      `error pulling image configuration: download failed after attempts=6: error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: "<?xml version"`,
    ),
  ],
  [
    'schema 1, Docker',
    'UnsupportedImage',
    docker(
      `[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default`,
    ),
  ],
  [
    'a missing tag, Docker',
    'NotFound',
    docker(`manifest for ${IMAGE} not found: manifest unknown: manifest unknown`),
  ],
  [
    'a missing repository, Docker',
    'NotFound',
    docker('repository registry.example.com/shop/web not found: name unknown: The repository does not exist'),
  ],
  [
    'a private repository, Docker',
    'Unauthorized',
    docker(
      "pull access denied for shop/web, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    ),
  ],
  ['no credentials, Docker', 'Unauthorized', docker(`Head "${URL}/manifests/2": no basic auth credentials`)],
  [
    'unauthorized, Docker',
    'Unauthorized',
    docker(`Get ${URL}/manifests/2: unauthorized: authentication required`),
  ],
  ['a bare denial', 'Unauthorized', docker(`Head "${URL}/manifests/2": denied: denied`)],
  [
    'a slow registry, Docker',
    'Timeout',
    docker(
      'Get "https://registry.example.com/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)',
    ),
  ],
  [
    'a page instead of an answer, Docker',
    'ServerError',
    docker(
      `error parsing HTTP 502 response body: invalid character '<' looking for beginning of value: "<html>404 page not found</html>"`,
    ),
  ],
  [
    'a rate limit, Docker',
    'TooManyRequests',
    docker('toomanyrequests: You have reached your pull rate limit.'),
  ],
  [
    'a full node, Docker',
    'NoSpace',
    unknown(
      'failed to register layer: ApplyLayer exit status 1 stdout:  stderr: write /usr/lib/x.so: no space left on device',
    ),
  ],
  // Registries' own words
  [
    'a tag that Quay expired',
    'NotFound',
    unknown(
      'reading manifest 2 in quay.example.com/shop/web: unknown: Tag 2 was deleted or has expired. To pull, revive via time machine',
    ),
  ],
  ['an artifact that Harbor does not have', 'NotFound', docker('unknown: artifact shop/web:2 not found')],
  [
    'a tag that Azure does not have',
    'NotFound',
    docker('manifest for shop/web:2 not found: manifest unknown: manifest tagged by "2" is not found'),
  ],
  // The kubelet's own
  ["the kubelet's own rate limit", 'TooManyRequests', 'pull QPS exceeded'],
  ['no words at all', 'Unknown', ''],
  ['words nobody knows', 'Unknown', unknown('the dog ate it')],
];

const DEFINITIVE: readonly PullFailureReason[] = [
  'NotFound',
  'Unauthorized',
  'PullSecretInvalid',
  'PullSecretMissing',
  'InvalidName',
  'NeverPull',
  'WrongPlatform',
  'UnsupportedImage',
  'PolicyViolation',
  'SignatureInvalid',
];

for (const [what, reason, message] of MESSAGES) {
  test(`${what} is ${reason}`, () => {
    const expected = { reason, definitive: DEFINITIVE.includes(reason) };
    assert.deepEqual(classifyPullFailure('ErrImagePull', message), expected);
  });
}

test('the words count when a newer kubelet repeats them while backing off', () => {
  for (const [, reason, message] of MESSAGES) {
    const repeated = `Back-off pulling image "${IMAGE}": ErrImagePull: ${message}`;
    assert.equal(classifyPullFailure('ImagePullBackOff', repeated).reason, reason);
  }
});

test('an older kubelet that only backs off leaves the reason unknown', () => {
  const message = `Back-off pulling image "${IMAGE}"`;
  assert.deepEqual(classifyPullFailure('ImagePullBackOff', message), {
    reason: 'Unknown',
    definitive: false,
  });
  assert.equal(registryMessage(message), message);
});

test("the kubelet's own judgement of a name and a policy is definitive", () => {
  const invalid =
    'Failed to apply default image tag "Web:2": couldn\'t parse image name "Web:2": invalid reference format';
  assert.deepEqual(classifyPullFailure('InvalidImageName', invalid), {
    reason: 'InvalidName',
    definitive: true,
  });
  assert.deepEqual(classifyPullFailure('ErrImagePull', invalid), { reason: 'InvalidName', definitive: true });
  const never = `Container image "${IMAGE}" is not present with pull policy of Never`;
  assert.deepEqual(classifyPullFailure('ErrImageNeverPull', never), {
    reason: 'NeverPull',
    definitive: true,
  });
});

test('a registry that is unavailable is a server error, unless the words say more', () => {
  const message = `image pull failed for ${IMAGE} because the registry is unavailable.`;
  assert.equal(classifyPullFailure('RegistryUnavailable', message).reason, 'ServerError');
  const refused = `RegistryUnavailable: ${unknown('dial tcp 192.0.2.15:443: connect: connection refused')}`;
  assert.equal(classifyPullFailure('RegistryUnavailable', refused).reason, 'ConnectionRefused');
});

for (const message of [
  containerd('no match for platform in manifest: not found', 'NotFound'),
  unknown(
    'choosing image instance: no image found in manifest list for architecture arm64, variant "v8", OS linux',
  ),
  docker(
    'no matching manifest for linux/arm64/v8 in the manifest list entries: no match for platform in manifest: not found',
  ),
]) {
  test(`an image for other machines is told as such: ${message.slice(-40)}`, () => {
    assert.deepEqual(classifyPullFailure('ErrImagePull', message), {
      reason: 'WrongPlatform',
      definitive: true,
    });
  });
}

test('an invalid signature is definitive, unless the words say that it could not be checked', () => {
  const message = `image pull failed for ${IMAGE} because the signature validation failed`;
  const invalid = { reason: 'SignatureInvalid', definitive: true };
  assert.deepEqual(classifyPullFailure('SignatureValidationFailed', message), invalid);
  assert.deepEqual(classifyPullFailure('SignatureValidationFailed', ''), invalid);
  const backingOff = `Back-off pulling image "${IMAGE}": SignatureValidationFailed: ${message}: no match`;
  assert.deepEqual(classifyPullFailure('ImagePullBackOff', backingOff), invalid);
  const away = `${message}: Get "https://rekor.example.com": dial tcp 192.0.2.15:443: connect: connection refused`;
  assert.equal(classifyPullFailure('SignatureValidationFailed', away).reason, 'ConnectionRefused');
});

test('a pull secret that cannot be decoded is told as such: kubelets from 1.33 on give it as the reason itself', () => {
  for (const words of [
    'illegal base64 data at input byte 4',
    "invalid character 'x' looking for beginning of value",
    'unexpected end of JSON input',
    'json: cannot unmarshal string into Go value of type credentialprovider.DockerConfigJSON',
  ]) {
    assert.deepEqual(classifyPullFailure(words, words), { reason: 'PullSecretInvalid', definitive: true });
  }
  // The answer of a registry may have the same words.
  const page = docker(`invalid character '<' looking for beginning of value`);
  assert.equal(classifyPullFailure('ErrImagePull', page).reason, 'Unknown');
});

test('of the answers to several secrets, one that may pass by itself leaves it open', () => {
  const denied = resolve(
    'pull access denied, repository does not exist or may require authorization: authorization failed',
  );
  const missing = resolve(`${IMAGE}: not found`, 'NotFound');
  const timeout = head('dial tcp 192.0.2.15:443: i/o timeout');
  const classify = (...answers: string[]) => classifyPullFailure('ErrImagePull', `[${answers.join(', ')}]`);
  assert.deepEqual(classify(denied, missing), { reason: 'NotFound', definitive: true });
  assert.deepEqual(classify(denied, denied), { reason: 'Unauthorized', definitive: true });
  assert.deepEqual(classify(denied, timeout), { reason: 'Timeout', definitive: false });
});

test('the name of the image has no say', () => {
  const misleading = fc.constantFrom(
    'toomanyrequests',
    'timeout',
    'denied',
    'unauthorized',
    'no-such-host',
    '503',
    'x509',
    'not-found',
    'name-unknown',
    'name_unknown',
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...MESSAGES),
      misleading,
      misleading,
      ([, reason, message], repository, tag) => {
        const renamed = message
          .replaceAll('shop/web:2', `shop/${repository}:${tag}`)
          .replaceAll('shop/web', `shop/${repository}`);
        assert.equal(classifyPullFailure('ErrImagePull', renamed).reason, reason);
      },
    ),
  );
});

test('a word that every object of JavaScript knows is an unknown word', () => {
  for (const word of ['toString', 'constructor', '__proto__'])
    assert.deepEqual(classifyPullFailure(word, ''), { reason: 'Unknown', definitive: false });
});

test('any text is classified', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (reason, message) => {
      const { definitive, reason: judged } = classifyPullFailure(reason, message);
      if (definitive) assert.ok(DEFINITIVE.includes(judged));
    }),
  );
});

for (const [message, words] of [
  [resolve(`${IMAGE}: not found`, 'NotFound'), `${IMAGE}: not found`],
  [
    `Back-off pulling image "${IMAGE}": ErrImagePull: ${resolve(`${IMAGE}: not found`, 'NotFound')}`,
    `${IMAGE}: not found`,
  ],
  [
    head('dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host'),
    `failed to do request: Head "${URL}/manifests/2": dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host`,
  ],
  [
    docker(`manifest for ${IMAGE} not found: manifest unknown: manifest unknown`),
    `manifest for ${IMAGE} not found: manifest unknown`,
  ],
  [docker('errors:\ndenied: no\nunauthorized: no\n'), 'errors: denied: no unauthorized: no'],
  [
    copy(
      `unexpected status code ${URL}/blobs/sha256:56?X-Amz-Signature=secret&ns=x: 503 Service Unavailable`,
    ),
    `unexpected status code ${URL}/blobs/sha256:56: 503 Service Unavailable`,
  ],
  [`[${unknown('a')}, ${unknown('b')}, ${unknown('a')}]`, 'a; b'],
  ['', ''],
] as const) {
  test(`the words of ${JSON.stringify(message.slice(0, 30))}... are ${JSON.stringify(words.slice(0, 60))}`, () => {
    assert.equal(registryMessage(message), words);
  });
}

test('the words are one line of at most 300 characters, and saying them again changes nothing', () => {
  const part = fc.constantFrom(
    'rpc error: code = Unknown desc = ',
    'not found',
    ': ',
    '\n',
    'x'.repeat(120),
    '"a"',
    '😀',
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof(part, fc.string())).map((parts) => parts.join('')),
      (message) => {
        const words = registryMessage(message);
        assert.ok(words.length <= 300);
        assert.ok(words.isWellFormed() || !message.isWellFormed());
        // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
        assert.doesNotMatch(words, /[\u0000-\u001f\u007f]/);
      },
    ),
  );
});

test('words that are too long lose their middle: the cause is at the end', () => {
  const words = registryMessage(`Failed to write ${'x'.repeat(300)}: no space left on device`);
  assert.equal(words.length, 300);
  assert.match(words, /^Failed to write x+…x+: no space left on device$/);
  assert.equal(registryMessage('x'.repeat(300)), 'x'.repeat(300));
});

test('a name that is too long leaves room for what is wrong with it', () => {
  const name = `registry/${'a'.repeat(300)}:v2`;
  // As a kubelet with containerd 1.6 words it.
  const words = registryMessage(
    `Failed to apply default image tag "${name}": couldn't parse image reference "${name}": repository name must not be more than 255 characters`,
  );
  const start = `"registry/${'a'.repeat(51)}…"`;
  assert.equal(
    words,
    `Failed to apply default image tag ${start}: couldn't parse image reference ${start}: repository name must not be more than 255 characters`,
  );
});

test('a long hostile message is read in no time', () => {
  for (const message of [
    'a/'.repeat(50_000),
    '"'.repeat(100_000),
    '[rpc error: '.repeat(10_000),
    'status '.repeat(15_000),
    '[('.repeat(50_000),
  ]) {
    const before = performance.now();
    classifyPullFailure('ErrImagePull', message);
    registryMessage(message);
    assert.ok(performance.now() - before < 1000, message.slice(0, 10));
  }
});
