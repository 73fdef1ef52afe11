import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import jsonPatch from 'fast-json-patch';
import type { AdmissionRequest, AdmissionUser } from '../../src/admission/admission-review.ts';
import { createAdmissionServer } from '../../src/admission/admission-server.ts';
import type { Ask } from '../../src/admission/decision.ts';
import { parseDecisionRecord } from '../../src/api/decision-record.ts';
import { parseDeployment } from '../../src/api/deployment.ts';
import { parseHold } from '../../src/api/hold.ts';
import type { PreloadProgress } from '../../src/api/preload-progress.ts';
import type { RunningLookup } from '../../src/api/running-lookup.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { asArray, asObject, at, type JsonObject } from '../../src/json.ts';
import { admissionReview } from '../support/admission-review.ts';
import { testTls } from '../support/tls.ts';
import { deployment } from '../support/unit/deployment-builder.ts';
import { logDouble } from '../support/unit/log-double.ts';
import { manualClock } from '../support/unit/manual-clock.ts';
import { until } from '../support/unit/until.ts';

const web = deployment();
const v2 = web.image('registry.test/app:2');
const PATH = '/admit/pause?timeout=5s';

function review(oldObject: JsonObject, object: JsonObject, more: JsonObject = {}): JsonObject {
  return admissionReview(oldObject, object, {
    uid: 'request-1',
    userInfo: { username: 'a-developer', uid: '7', groups: ['dev'], extra: { scopes: ['a'] } },
    ...more,
  });
}

const tls = await testTls();

const AUTHORITY = { ca: tls.ca };

type May = (user: AdmissionUser, namespace: string) => Promise<boolean>;
type RunningTemplateOf = (request: AdmissionRequest, hash: string) => Promise<RunningLookup>;
type PreloadProgressOf = (request: AdmissionRequest, ask: Ask) => Promise<PreloadProgress>;

const notExpected = () => Promise.reject(new Error('nothing is to be looked up'));

async function start(
  /** null where no permission is needed. */
  may: May | null = async () => true,
  clock: Clock = systemClock,
  preloadProgress: PreloadProgressOf = notExpected,
  leaving?: AbortSignal,
  runningTemplate: RunningTemplateOf = notExpected,
) {
  const { log, lines } = logDouble();
  const answers: { mode: string; decision: string; seconds: number }[] = [];
  const app = createAdmissionServer({
    tls: tls,
    gate: { username: 'system:serviceaccount:pullgate:pullgate', exemptNamespaces: ['kube-system'] },
    ...(may !== null && { may }),
    preloadProgress,
    runningTemplate,
    leaving,
    onAnswer: (mode, decision, seconds) => answers.push({ mode, decision, seconds }),
    clock,
    log,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true, ca: tls.ca });
  const close = async () => {
    agent.destroy();
    await app.close();
  };
  return { app, agent, port, lines, answers, close };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: JsonObject;
}

type Target = Pick<Awaited<ReturnType<typeof start>>, 'agent' | 'port'>;

async function send(
  target: Target,
  body: string | Buffer | undefined,
  options: RequestOptions = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = httpsRequest(
    {
      host: '127.0.0.1',
      port: target.port,
      agent: target.agent,
      method: 'POST',
      path: PATH,
      headers: { 'content-type': 'application/json' },
      ...options,
    },
    (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const { statusCode = 0, headers } = response;
        resolve({ status: statusCode, headers, body: text === '' ? {} : asObject(JSON.parse(text)) });
      });
    },
  );
  request.on('error', reject);
  request.end(body);
  return promise;
}

function ask(target: Target, body: JsonObject, options?: RequestOptions): Promise<Answer> {
  return send(target, JSON.stringify(body), options);
}

function patched(object: JsonObject, answer: Answer): JsonObject {
  const patch = Buffer.from(String(at(answer.body, 'response', 'patch')), 'base64').toString();
  return jsonPatch.applyPatch(structuredClone(object), JSON.parse(patch)).newDocument;
}

/** The error of the table, as the API server shows it. */
function assertRefused(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body['kind'], 'Status');
  assert.equal(answer.body['code'], status);
  assert.match(String(answer.body['message']), new RegExp(`^${code}: `));
}

describe('the admission server', () => {
  let gate: Awaited<ReturnType<typeof start>>;
  const asked: [AdmissionUser, string][] = [];
  before(async () => {
    gate = await start(async (user, namespace) => {
      asked.push([user, namespace]);
      return user.username === 'admin';
    });
  });
  after(() => gate.close());

  test('answers an update that needs an image with patch, warnings and audit annotations', async () => {
    const answer = await ask(gate, review(web.object, v2.object));
    assert.equal(answer.status, 200);
    const { apiVersion, kind, response } = answer.body;
    assert.deepEqual([apiVersion, kind], ['admission.k8s.io/v1', 'AdmissionReview']);
    assert.deepEqual([at(response, 'uid'), at(response, 'allowed')], ['request-1', true]);
    assert.equal(at(response, 'patchType'), 'JSONPatch');
    const { paused, annotations, labels } = parseDeployment(patched(v2.object, answer));
    const hold = parseHold(annotations['pullgate.io/hold']);
    assert.deepEqual(
      [paused, labels['pullgate.io/held'], hold?.from.images['app']],
      [true, 'true', 'registry.test/app:1'],
    );
    assert.equal(asArray(at(response, 'warnings')).length, 3);
    assert.equal(at(response, 'auditAnnotations', 'decision'), 'Held');
    assert.equal(at(response, 'auditAnnotations', 'preload'), hold?.preload);
  });

  test('writes one line for it at info, and none for an update that does not matter', async () => {
    gate.lines.length = 0;
    await ask(gate, review(web.object, v2.object, { dryRun: true }));
    await ask(gate, review(web.object, web.label('a', 'b').object));
    const info = gate.lines.filter(({ level }) => Number(level) >= 30);
    assert.equal(info.length, 1);
    const { deployment, decision, preload, user, dryRun, ms } = info[0] ?? {};
    assert.deepEqual([deployment, decision, user, dryRun], ['shop/web', 'Held', 'a-developer', true]);
    assert.match(String(preload), /^web-/);
    assert.equal(typeof ms, 'number');
    assert.deepEqual(
      gate.lines.map(({ level }) => level),
      [30, 20],
    );
  });

  test('lets an update that does not matter through without a patch', async () => {
    const { body } = await ask(gate, review(web.object, web.spec({ replicas: 7 }).object));
    assert.deepEqual(body['response'], {
      uid: 'request-1',
      allowed: true,
      auditAnnotations: { decision: 'Unchanged', reason: 'the template did not change' },
    });
  });

  test('asks for the permission only when a bypass or `off` is asked for, with all it knows of the user', async () => {
    asked.length = 0;
    await ask(gate, review(web.object, v2.object));
    assert.deepEqual(asked, []);
    const urgent = v2.annotate('pullgate.io/bypass', 'urgent').object;
    const refused = await ask(gate, review(web.object, urgent));
    assert.equal(at(refused.body, 'response', 'auditAnnotations', 'decision'), 'Held');
    assert.deepEqual(asked, [
      [{ username: 'a-developer', uid: '7', groups: ['dev'], extra: { scopes: ['a'] } }, 'shop'],
    ]);
    const granted = await ask(gate, review(web.object, urgent, { userInfo: { username: 'admin' } }));
    assert.equal(at(granted.body, 'response', 'auditAnnotations', 'decision'), 'Bypassed');
  });

  test('asks for the permission of whoever sends an update that exceeds a bound', async () => {
    asked.length = 0;
    const large = v2.annotate('note', 'x'.repeat(250 * 1024)).object;
    const refused = await ask(gate, review(web.object, large));
    assert.equal(at(refused.body, 'response', 'allowed'), false);
    assert.equal(at(refused.body, 'response', 'auditAnnotations', 'decision'), 'Refused');
    assert.match(String(at(refused.body, 'response', 'status', 'message')), /may not bypass/);
    const granted = await ask(gate, review(web.object, large, { userInfo: { username: 'admin' } }));
    assert.equal(at(granted.body, 'response', 'auditAnnotations', 'decision'), 'LimitExceeded');
    assert.match(String(at(granted.body, 'response', 'warnings')), /continues without a preload/);
    assert.deepEqual(
      asked.map(([{ username }, namespace]) => [username, namespace]),
      [
        ['a-developer', 'shop'],
        ['admin', 'shop'],
      ],
    );
  });

  test('denies `off` to a user who may not, with 403 and no patch', async () => {
    const { body } = await ask(gate, review(web.object, v2.label('pullgate.io/mode', 'off').object));
    assert.equal(at(body, 'response', 'allowed'), false);
    assert.equal(at(body, 'response', 'patch'), undefined);
    assert.equal(at(body, 'response', 'status', 'code'), 403);
    assert.equal(at(body, 'response', 'status', 'message'), 'a-developer may not opt a Deployment out');
  });

  test('answers requests that come at once, each its own', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, count) =>
        ask(gate, review(web.object, web.image(`registry.test/app:n${count}`).object, { uid: `u${count}` })),
      ),
    );
    for (const [count, { body }] of answers.entries()) {
      assert.equal(at(body, 'response', 'uid'), `u${count}`);
      assert.equal(at(body, 'response', 'auditAnnotations', 'images'), `registry.test/app:n${count}`);
    }
  });

  test('takes the largest review there can be', async () => {
    const note = 'x'.repeat(3_000_000);
    const [old, object] = [web, v2].map((builder) => builder.metadata({ note }).object) as [
      JsonObject,
      JsonObject,
    ];
    const answer = await ask(gate, review(old, object, { userInfo: { username: 'admin' } }));
    // Not held: with a hold etcd might refuse it.
    assert.equal(at(answer.body, 'response', 'auditAnnotations', 'decision'), 'LimitExceeded');
  });

  describe('refuses', () => {
    const valid = review(web.object, v2.object);
    const request = asObject(valid['request']);
    const without = (field: string): JsonObject => {
      const { [field]: _, ...rest } = request;
      return { ...valid, request: rest };
    };

    const bodies: [string, string, string, RegExp][] = [
      ['an empty body', '', 'PG_BODY_NOT_JSON', /empty/],
      ['what is not JSON', 'apiVersion: v1', 'PG_BODY_NOT_JSON', /not valid JSON/],
      ['a body that was cut', JSON.stringify(valid).slice(0, -5), 'PG_BODY_NOT_JSON', /not valid JSON/],
      ['a key that would be a prototype', '{"__proto__": {"a": 1}}', 'PG_BODY_NOT_JSON', /./],
      ['the same in escapes', '{"_\\u005fproto\\u005F_": {"a": 1}}', 'PG_BODY_NOT_JSON', /./],
      ['the prototype of its constructor', '{"constructor": {"prototype": {}}}', 'PG_BODY_NOT_JSON', /./],
      ['a list', '[]', 'PG_REVIEW_INVALID', /the body is not an object/],
      ['null', 'null', 'PG_REVIEW_INVALID', /the body is not an object/],
      ['another kind', '{"apiVersion":"v1","kind":"Pod"}', 'PG_REVIEW_VERSION', /v1 Pod/],
      ['no version', '{}', 'PG_REVIEW_VERSION', /\(none\) \(none\)/],
      [
        'v1beta1',
        JSON.stringify({ ...valid, apiVersion: 'admission.k8s.io/v1beta1' }),
        'PG_REVIEW_VERSION',
        /v1beta1/,
      ],
    ];
    for (const [what, text, code, detail] of bodies) {
      test(what, async () => {
        const answer = await send(gate, text);
        assertRefused(answer, 400, code);
        assert.match(String(answer.body['message']), detail);
      });
    }

    const deep = JSON.parse(`${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}`) as unknown;
    const reviews: [string, JsonObject, string][] = [
      ['a review without a request', { ...valid, request: null }, 'request is missing'],
      ['one without a uid', without('uid'), 'request.uid is missing'],
      [
        'another operation',
        review(web.object, v2.object, { operation: 'CREATE' }),
        'request.operation is CREATE',
      ],
      ['no operation', without('operation'), 'request.operation is (none)'],
      [
        'no object, as in a DELETE',
        review(web.object, v2.object, { object: null }),
        'request.object is missing',
      ],
      ['no oldObject', without('oldObject'), 'request.oldObject is missing'],
      ['an object without spec', review(web.object, { metadata: {} }), 'request.object.spec is missing'],
      [
        'a oldObject without uid',
        review(web.metadata({ uid: '' }).object, v2.object),
        'oldObject.metadata.uid',
      ],
      [
        'another resource',
        review(web.object, v2.object, {
          resource: { group: 'apps', version: 'v1', resource: 'statefulsets' },
        }),
        'request.resource is apps/v1 statefulsets',
      ],
      [
        'another version of it',
        review(web.object, v2.object, {
          resource: { group: 'apps', version: 'v1beta1', resource: 'deployments' },
        }),
        'request.resource is apps/v1beta1 deployments',
      ],
      [
        'a subresource',
        review(web.object, v2.object, { subResource: 'scale' }),
        'request.subResource is scale',
      ],
      ['no user', review(web.object, v2.object, { userInfo: {} }), 'request.userInfo.username is missing'],
      [
        'a name that is none',
        review(web.object, v2.object, { name: "x'; reboot" }),
        'request.name is not a DNS name',
      ],
      ['no namespace', without('namespace'), 'request.namespace is missing'],
      [
        'a template too deep to hash',
        review(web.object, { ...v2.object, spec: { template: deep } }),
        'request.object nests deeper than 64 levels',
      ],
      [
        'one such in what runs',
        review({ ...web.object, spec: { template: deep } }, v2.object),
        'request.oldObject nests deeper than 64 levels',
      ],
      [
        'anything else that nests too deep to be counted',
        review(web.object, { ...v2.object, status: deep }),
        'request.object nests deeper than 64 levels',
      ],
    ];
    for (const [what, body, detail] of reviews) {
      test(what, async () => {
        const answer = await ask(gate, body);
        assertRefused(answer, 400, 'PG_REVIEW_INVALID');
        const message = String(answer.body['message']);
        assert.ok(message.includes(detail), message);
      });
    }

    test('another content type, and none', async () => {
      for (const type of [
        'text/plain',
        'application/yaml',
        'application/x-www-form-urlencoded',
        'nonsense',
      ]) {
        const answer = await send(gate, JSON.stringify(valid), { headers: { 'content-type': type } });
        assertRefused(answer, 415, 'PG_CONTENT_TYPE');
      }
      assertRefused(await send(gate, JSON.stringify(valid), { headers: {} }), 415, 'PG_CONTENT_TYPE');
    });

    test('another path', async () => {
      for (const path of [
        '/',
        '/admit',
        '/admit/',
        '/admit/off',
        '/admit/pause/',
        '/admit/paused',
        '/admit/%zz',
        '//admit/pause',
      ])
        assertRefused(await send(gate, JSON.stringify(valid), { path }), 404, 'PG_NOT_FOUND');
    });

    test('another method, and says which one is right', async () => {
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const answer = await send(gate, ['PUT', 'PATCH'].includes(method) ? '{}' : undefined, { method });
        assertRefused(answer, 405, 'PG_METHOD');
        assert.equal(answer.headers['allow'], 'POST');
      }
    });

    test('a body over 7 MiB, announced or not', async () => {
      const lenient = await start(null);
      const announced = rawRequest(lenient, `content-length: ${7 * 1024 * 1024 + 1}\r\n`);
      assert.match(await announced.text, /^HTTP\/1\.1 413 .*PG_BODY_TOO_LARGE/s);
      const chunked = rawRequest(lenient, 'transfer-encoding: chunked\r\n');
      const chunk = `100000\r\n${' '.repeat(0x100000)}\r\n`;
      for (let count = 0; count < 7; count += 1) chunked.socket.write(chunk);
      chunked.socket.write('10\r\n');
      chunked.socket.write(`${' '.repeat(16)}\r\n`);
      assert.match(await chunked.text, /^HTTP\/1\.1 413 .*PG_BODY_TOO_LARGE/s);
      await lenient.close();
    });

    test('a body that does not come, and answers others meanwhile', async () => {
      const slow = rawRequest(gate, 'content-length: 100\r\n');
      slow.socket.write('{"apiVersion":');
      const began = performance.now();
      const other = await ask(gate, valid);
      assert.equal(other.status, 200);
      assert.match(await slow.text, /^HTTP\/1\.1 408 .*PG_BODY_TIMEOUT/s);
      assert.ok(performance.now() - began < 8000);
    });
  });

  test('survives whatever is sent: no crash, and no error of its own', async () => {
    gate.lines.length = 0;
    const valid = Buffer.from(JSON.stringify(review(web.object, v2.object)));
    const statuses = new Map<number, number>();
    for (const body of hostileBodies(valid, 300)) {
      const { status } = await send(gate, body);
      assert.ok(status < 500, body.toString().slice(0, 500));
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    assert.ok((statuses.get(400) ?? 0) > 50, 'most are refused');
    assert.ok((statuses.get(200) ?? 0) > 20, 'some are reviews still');
    assert.equal(gate.lines.filter(({ level }) => Number(level) >= 50).length, 0);
    assert.equal((await send(gate, valid)).status, 200);
  });
});

describe('a review that is too large to read', () => {
  const padding = '\\u003c'.repeat(1_300_000);
  const large = JSON.stringify(review(web.object, v2.metadata({ note: 'NOTE' }).object)).replace(
    'NOTE',
    padding,
  );
  const full = JSON.stringify(review(web.object, v2.object)).replace(
    '"spec":{',
    `"spec":{"x":[${'{},'.repeat(600_000)}{}],`,
  );

  for (const [what, text, code] of [
    ['of more than 7 MiB', large, 'PG_BODY_TOO_LARGE'],
    ['of more than 500,000 values', full, 'PG_BODY_VALUES'],
  ] as const) {
    test(`${what} is denied where a permission is needed: an error would let the update pass`, async () => {
      const gate = await start(async () => false);
      for (const mode of ['pause', 'reject']) {
        const { status, body } = await send(gate, text, { path: `/admit/${mode}?timeout=5s` });
        assert.equal(status, 200);
        const response = asObject(body['response']);
        assert.deepEqual([response['uid'], response['allowed']], ['request-1', false]);
        assert.equal(at(response, 'status', 'code'), 403);
        assert.match(String(at(response, 'status', 'message')), new RegExp(`cannot read it .*${code}: `));
      }
      assertRefused(await send(gate, text, { path: '/admit/audit' }), 413, code);
      await until(() => gate.answers.length === 3, 'all are counted');
      assert.deepEqual(
        gate.answers.map(({ decision }) => decision),
        ['Refused', 'Refused', 'Error'],
      );
      await gate.close();
    });
  }

  test('is an error where nobody needs a permission', async () => {
    const gate = await start(null);
    assertRefused(await send(gate, full), 413, 'PG_BODY_VALUES');
    await gate.close();
  });

  test('of more than 32 MiB is not read to its end, and one without a uid is an error', async () => {
    const gate = await start(async () => false);
    const announced = rawRequest(gate, `content-length: ${32 * 1024 * 1024 + 1}\r\n`);
    assert.match(await announced.text, /^HTTP\/1\.1 413 .*PG_BODY_TOO_LARGE/s);
    assertRefused(await send(gate, large.replace('"uid":"request-1"', '"uid":""')), 413, 'PG_BODY_TOO_LARGE');
    await gate.close();
  });
});

describe('many requests at once', () => {
  const STRANGER = '127.0.0.2';
  const never = new Promise<never>(() => undefined);
  const urgent = v2.annotate('pullgate.io/bypass', 'urgent').object;
  const from = (localAddress: string): RequestOptions => ({ localAddress, agent: new Agent(AUTHORITY) });

  test('a stranger whose reviews wait for the API server takes half of the places for that', async () => {
    const clock = manualClock();
    const asking: string[] = [];
    const gate = await start(async ({ username }) => {
      asking.push(username);
      return username === 'an-admin' || (await never);
    }, clock);
    const waiting = Array.from({ length: 100 }, () =>
      ask(gate, review(web.object, urgent, { userInfo: { username: 'stranger' } }), from(STRANGER)),
    );
    await until(() => asking.length > 0);
    for (let n = 0; n < 5; n += 1) {
      const answer = await ask(gate, review(web.object, urgent, { userInfo: { username: 'an-admin' } }));
      assert.equal(at(answer.body, 'response', 'auditAnnotations', 'decision'), 'Bypassed');
    }
    assert.ok(asking.filter((name) => name === 'stranger').length <= 16);
    await until(() => clock.timers().length === 100, 'all have arrived');
    clock.advance(5000);
    for (const answer of await Promise.all(waiting)) assertRefused(answer, 408, 'PG_BODY_TIMEOUT');
    await gate.close();
  });

  test('a namespace whose reviews wait for the API server keeps no other one of the same API server waiting', async () => {
    const clock = manualClock();
    let asked = 0;
    const gate = await start(async ({ username }) => {
      asked += 1;
      return username === 'an-admin' || (await never);
    }, clock);
    const waiting = Array.from({ length: 100 }, () =>
      ask(gate, review(web.object, urgent, { namespace: 'foe', userInfo: { username: 'foe' } })),
    );
    await until(() => asked > 0);
    await until(() => clock.timers().length === 100, 'all have arrived');
    for (let n = 0; n < 5; n += 1) {
      // So that those of the other namespace count as slow.
      clock.advance(500);
      const answer = await ask(gate, review(web.object, urgent, { userInfo: { username: 'an-admin' } }));
      assert.equal(at(answer.body, 'response', 'auditAnnotations', 'decision'), 'Bypassed');
    }
    clock.advance(5000);
    await Promise.all(waiting);
    await gate.close();
  });

  test('without the memory to wait for it, permission is refused, as an error would let the update pass', async () => {
    const permission = Promise.withResolvers<boolean>();
    const gate = await start(() => permission.promise);
    const large = review(web.object, v2.annotate('note', 'x'.repeat(1_000_000)).object);
    const answers: Answer[] = [];
    const waiting = Array.from({ length: 4 }, async () => {
      answers.push(await ask(gate, large));
    });
    await until(() => answers.length > 0);
    assert.equal(at(answers[0]?.body, 'response', 'auditAnnotations', 'decision'), 'Refused');
    permission.resolve(false);
    await Promise.all(waiting);
    await gate.close();
  });

  test('a revert is answered with the running template, looked up by its digest', async () => {
    const hashes: string[] = [];
    const template = asObject(at(web.object, 'spec', 'template'));
    const gate = await start(
      async () => false,
      systemClock,
      notExpected,
      undefined,
      async (_, hash) => {
        hashes.push(hash);
        return { kind: 'found', template };
      },
    );
    const held = patched(v2.object, await ask(gate, review(web.object, v2.object)));
    const metadata = asObject(held['metadata']);
    const annotations = { ...asObject(metadata['annotations']), 'pullgate.io/revert': 'v2 is broken' };
    const asked = { ...held, metadata: { ...metadata, annotations } };
    const back = patched(asked, await ask(gate, review(held, asked)));
    assert.deepEqual(hashes, [parseDeployment(web.object).templateDigest]);
    assert.deepEqual(at(back, 'spec', 'template'), template);
    assert.equal(at(back, 'metadata', 'annotations', 'pullgate.io/revert'), undefined);
    await gate.close();
  });

  test('beyond the budget the answer is 503, and when to come again; others have room', async () => {
    const clock = manualClock();
    const gate = await start(undefined, clock, () => never);
    const large = review(web.object, v2.metadata({ note: 'x'.repeat(200_000) }).object);
    const path = '/admit/reject';
    const answers: Answer[] = [];
    const waiting = Array.from({ length: 8 }, async () => {
      answers.push(await ask(gate, large, { ...from(STRANGER), path }));
    });
    await until(() => answers.length > 0);
    const [first] = answers;
    assert.ok(first);
    assertRefused(first, 503, 'PG_BUSY');
    assert.equal(first.headers['retry-after'], '1');
    const usual = await ask(gate, review(web.object, v2.object), from(STRANGER));
    assert.equal(usual.status, 200, 'what does not wait');
    const busy = () => answers.length;
    await until(() => busy() + clock.timers().length === 8, 'all have arrived');
    const other = ask(gate, large, { path });
    await until(() => busy() + clock.timers().length === 9, 'this one waits as well');
    clock.advance(5000);
    await Promise.all(waiting);
    assertRefused(await other, 408, 'PG_BODY_TIMEOUT');
    assert.equal(gate.lines.filter(({ code }) => code === 'PG_BUSY').length, 1);
    await gate.close();
  });

  test('a body of more values than any Deployment has is refused before it is parsed', async () => {
    const gate = await start(null);
    const text = JSON.stringify(review(web.object, v2.object)).replace(
      '"spec":{',
      `"spec":{"x":[${'{},'.repeat(600_000)}{}],`,
    );
    assertRefused(await send(gate, text), 413, 'PG_BODY_VALUES');
    // In a string they are none.
    const note = ',"[{'.repeat(250_000);
    const answer = await ask(gate, review(web.object, v2.metadata({ note }).object));
    assert.equal(answer.status, 200);
    await gate.close();
  });

  test('however many stray requests there are, a kind has one line a minute', async () => {
    const clock = manualClock();
    const gate = await start(undefined, clock);
    const stray = async (times: number) => {
      for (let n = 0; n < times; n += 1)
        assertRefused(await send(gate, '{}', { path: `/${n}` }), 404, 'PG_NOT_FOUND');
    };
    await stray(50);
    assertRefused(await send(gate, 'no JSON'), 400, 'PG_BODY_NOT_JSON');
    assert.deepEqual(
      gate.lines.map(({ code, leftOut }) => [code, leftOut]),
      [
        ['PG_NOT_FOUND', undefined],
        ['PG_BODY_NOT_JSON', undefined],
      ],
    );
    clock.advance(60_000);
    await stray(1);
    assert.deepEqual([gate.lines.at(-1)?.['code'], gate.lines.at(-1)?.['leftOut']], ['PG_NOT_FOUND', 49]);
    await gate.close();
  });

  test('a stranger cannot fill the log with decisions', async () => {
    const clock = manualClock();
    const gate = await start(undefined, clock);
    for (let n = 0; n < 1100; n += 1) await ask(gate, review(web.object, v2.object));
    assert.equal(gate.lines.length, 1000);
    await gate.close();
  });
});

describe('an update in mode reject', () => {
  const asks: [AdmissionRequest, Ask][] = [];
  let outcome: PreloadProgress['outcome'] = { kind: 'wait' };
  let gate: Awaited<ReturnType<typeof start>>;
  before(async () => {
    gate = await start(undefined, systemClock, async (request, asked) => {
      asks.push([request, asked]);
      return { outcome, readyNodes: 1, desiredNodes: 3, elapsedSeconds: 10, remainingSeconds: 20 };
    });
  });
  after(() => gate.close());

  async function rejecting(of: PreloadProgress['outcome'], more: JsonObject = {}, next = v2) {
    outcome = of;
    asks.length = 0;
    const { body } = await ask(gate, review(web.object, next.object, more), { path: '/admit/reject' });
    return body['response'];
  }

  test('is answered 429 with the time to come again, and no patch', async () => {
    const response = await rejecting({ kind: 'wait' });
    assert.equal(at(response, 'allowed'), false);
    assert.equal(at(response, 'patch'), undefined);
    assert.partialDeepStrictEqual(at(response, 'status'), {
      code: 429,
      reason: 'TooManyRequests',
      details: { retryAfterSeconds: 20 },
    });
    assert.match(String(at(response, 'status', 'message')), /1 of 3 nodes/);
    const [[request, asked] = []] = asks;
    assert.deepEqual([request?.name, request?.dryRun, asks.length], ['web', false, 1]);
    assert.deepEqual(asked?.from.images, { app: 'registry.test/app:1' });
    assert.equal(at(response, 'auditAnnotations', 'preload'), asked?.preload);
    assert.equal(at(response, 'auditAnnotations', 'decision'), 'Rejected');
  });

  test('passes once the preload is ready, with no mark but the decision', async () => {
    outcome = { kind: 'release', message: '3 of 3 nodes have every image' };
    const path = '/admit/reject';
    const answer = await ask(gate, review(web.object, v2.object), { path });
    assert.equal(at(answer.body, 'response', 'allowed'), true);
    const { paused, annotations, labels } = parseDeployment(patched(v2.object, answer));
    assert.deepEqual([paused, labels['pullgate.io/held']], [false, undefined]);
    assert.equal(parseDecisionRecord(annotations['pullgate.io/decided'])?.decision, 'Preloaded');
  });

  test('is answered 403 with the words of the registry if the image cannot be pulled', async () => {
    const response = await rejecting({ kind: 'fail', message: 'app:2: not found (NotFound)' });
    assert.equal(at(response, 'status', 'code'), 403);
    assert.equal(at(response, 'status', 'details'), undefined);
    assert.match(String(at(response, 'status', 'message')), /app:2: not found/);
  });

  test('is not told to come again on a dry run', async () => {
    const response = await rejecting({ kind: 'wait' }, { dryRun: true });
    assert.equal(at(response, 'status', 'code'), 429);
    assert.equal(at(response, 'status', 'details'), undefined);
    assert.equal(asks[0]?.[0].dryRun, true);
  });

  test('that needs no image looks nothing up', async () => {
    const response = await rejecting({ kind: 'wait' }, {}, web.spec({ replicas: 5 }));
    assert.deepEqual([at(response, 'allowed'), asks.length], [true, 0]);
  });

  test('is no decision if how far it is cannot be found out: failurePolicy decides', async () => {
    const broken = await start(undefined, systemClock, () => Promise.reject(new Error('no API server')));
    const path = '/admit/reject';
    assertRefused(await ask(broken, review(web.object, v2.object), { path }), 500, 'PG_INTERNAL');
    await broken.close();
  });
});

test('in mode audit an update passes unpaused, with a warning, and nothing is looked up', async () => {
  const gate = await start();
  const answer = await ask(gate, review(web.object, v2.object), { path: '/admit/audit' });
  const { response } = answer.body;
  assert.equal(at(response, 'allowed'), true);
  const [warning, ...rest] = asArray(at(response, 'warnings'));
  assert.match(String(warning), /shop\/web would be held/);
  assert.deepEqual(rest, []);
  const { paused, annotations } = parseDeployment(patched(v2.object, answer));
  assert.equal(paused, false);
  assert.equal(parseDecisionRecord(annotations['pullgate.io/decided'])?.decision, 'Audited');
  await gate.close();
});

/** Sends the head of a request by hand, so that the body may be anything. */
function rawRequest(
  { port }: Target,
  header: string,
): { readonly socket: TLSSocket; readonly text: Promise<string> } {
  const socket = connect({ host: '127.0.0.1', port, ca: tls.ca, servername: '' });
  socket.write(`POST ${PATH} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n${header}\r\n`);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // What is written after the answer may meet a closed connection.
  socket.on('error', () => undefined);
  const text = once(socket, 'close').then(() => Buffer.concat(chunks).toString());
  return { socket, text };
}

/** Deterministic: a failure can be run again. */
function* hostileBodies(valid: Buffer, count: number): Generator<Buffer> {
  let state = 42;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % below;
  };
  const text = valid.toString();
  const deep = (open: string, close: string) => `${open.repeat(100_000)}1${close.repeat(100_000)}`;
  const anyKey = () => [...text.matchAll(/"\w+":/g)][random(40)]?.[0] ?? '"spec":';
  const mutations: (() => string | Buffer)[] = [
    () => text.slice(0, random(text.length)),
    () => deep('[', ']'),
    () => deep('{"a":', '}'),
    () => text.replace(anyKey(), (key) => `${key}${deep('[', ']')},"x":`),
    () => text.replace('"template":', () => `"template":${deep('{"a":', '}')},"x":`),
    () => text.replace(anyKey(), (key) => `${key}null,${key}`),
    () => text.replace(anyKey(), (key) => `${key}{"length":1e999},"${'k'.repeat(1000)}":`),
    () => text.replaceAll('"image":', '"image":{},"image":[],"x":'),
    () => text.replace(anyKey(), '"__proto__":'),
    () => text.replace(anyKey(), '"constructor":{"prototype":{"a":1}},"x":'),
    () => text.replaceAll('"name":"app"', '"name":"\\u0000"'),
    () => text.replaceAll('"annotations":{', '"annotations":{"pullgate.io/hold":"{\\"v\\":1}",'),
    () => text.replaceAll('"metadata":{', '"metadata":{"labels":"x","annotations":[1],"x":{},'),
    () => text.replaceAll('"metadata":{', '"metadata":[],"metadata":{"annotations":[1],"y":{},'),
    () => text.replaceAll(/"(annotations|labels)":\{/g, '"$1":{"pullgate.io/hold":7,'),
    () => text.replaceAll('"containers":[', '"containers":[null,7,[],{"name":{}},{"image":"x"},{"image":9},'),
    () =>
      text.replaceAll(
        '"spec":{"containers"',
        '"spec":{"volumes":[null,{"image":[]},{"image":{"reference":1}}],"containers"',
      ),
    () => text.replaceAll(/:1"|:2"/g, `:${'9'.repeat(random(100_000))}"`),
    () => {
      const bytes = Buffer.from(valid);
      for (let flips = 0; flips < 3; flips += 1) bytes[random(bytes.length)] = 0x80 + random(0x80);
      return bytes;
    },
    () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), valid]),
    () => `${text}${text}`,
    () => text.replaceAll('registry.test', '\\ud800'),
  ];
  for (let index = 0; index < count; index += 1) {
    const body = mutations[index % mutations.length]?.() ?? '';
    yield typeof body === 'string' ? Buffer.from(body) : body;
  }
}

describe('every call is told once', () => {
  const told = ({ answers }: { answers: readonly { mode: string; decision: string }[] }) =>
    answers.map(({ mode, decision }) => `${mode} ${decision}`);

  test('with what was decided, by mode', async () => {
    const gate = await start();
    await ask(gate, review(web.object, v2.object));
    await ask(gate, review(web.object, web.object));
    await ask(gate, review(web.object, v2.object), { path: '/admit/audit' });
    await until(() => gate.answers.length === 3);
    assert.deepEqual(told(gate), ['pause Held', 'pause Unchanged', 'audit Audited']);
    for (const { seconds } of gate.answers) assert.ok(seconds > 0 && seconds < 5, `${seconds} s`);
    await gate.close();
  });

  test('errors as such: of the gate, of the caller, and a caller who does not wait', async () => {
    const asked = Promise.withResolvers<void>();
    const gate = await start(async (_user, namespace) => {
      if (namespace !== 'patient') throw new Error('broken');
      asked.resolve();
      return await new Promise<boolean>(() => undefined);
    });
    const urgent = v2.annotate('pullgate.io/bypass', 'urgent').object;
    await ask(gate, review(web.object, urgent));
    await send(gate, '{"broken', { path: '/admit/reject' });
    const text = JSON.stringify(review(web.object, urgent, { namespace: 'patient' }));
    const { socket } = rawRequest(gate, `content-length: ${Buffer.byteLength(text)}\r\n`);
    socket.write(text);
    await asked.promise;
    socket.destroy();
    await until(() => gate.answers.length === 3);
    assert.deepEqual(told(gate), ['pause Error', 'reject Error', 'pause Error']);
    await gate.close();
  });

  test('but nothing that is no call of a mode', async () => {
    const gate = await start();
    await send(gate, '{}', { path: '/admit/unknown' });
    await send(gate, undefined, { method: 'GET' });
    await ask(gate, review(web.object, web.object));
    await until(() => gate.answers.length > 0);
    assert.deepEqual(told(gate), ['pause Unchanged']);
    await gate.close();
  });
});

describe('a replica that leaves', () => {
  const update = () => review(web.object, v2.object);

  test('answers on connections old and new, each time the last time, until nobody asks for a second', async () => {
    const clock = manualClock();
    const leaving = new AbortController();
    const gate = await start(undefined, clock, undefined, leaving.signal);
    // Two connections, both kept open by their client.
    const before = await Promise.all([ask(gate, update()), ask(gate, update())]);
    assert.deepEqual(
      before.map(({ headers }) => headers['connection']),
      ['keep-alive', 'keep-alive'],
    );
    leaving.abort();
    const after = await Promise.all([ask(gate, update()), ask(gate, update())]);
    after.push(await ask({ ...gate, agent: new Agent({ ca: tls.ca }) }, update()));
    for (const { status, headers } of after) {
      assert.equal(status, 200);
      assert.equal(headers['connection'], 'close');
    }

    let ended = false;
    const closed = gate.app.close().then(() => {
      ended = true;
    });
    for (let asks = 0; asks < 3; asks += 1) {
      await until(() => clock.timers().includes(1000) || asks > 0, 'it waits for quiet');
      clock.advance(900);
      const answer = await ask(gate, update());
      assert.equal(answer.headers['connection'], 'close');
      assert.equal(ended, false);
    }
    clock.advance(100);
    await until(() => clock.timers().length > 0, 'it waits on');
    clock.advance(900);
    await closed;
    await assert.rejects(ask({ ...gate, agent: new Agent() }, update()), { code: 'ECONNREFUSED' });
  });

  test('waits no longer than 5 s for those who never stop', async () => {
    const clock = manualClock();
    const gate = await start(undefined, clock, undefined, AbortSignal.abort());
    await ask(gate, update());
    const closed = gate.app.close();
    for (let ms = 0; ms < 5000; ms += 500) {
      await until(() => clock.timers().length > 0, `it waits after ${ms} ms`);
      await ask(gate, update());
      clock.advance(500);
    }
    await closed;
  });

  test('closes at once if nobody has asked for a while', async () => {
    const clock = manualClock();
    const gate = await start(undefined, clock, undefined, AbortSignal.abort());
    await ask(gate, update());
    clock.advance(1000);
    await gate.close();
  });
});

describe('closing', () => {
  test('answers what is in flight, with the connection closed after it, and lets go of the rest', async () => {
    const permission = Promise.withResolvers<boolean>();
    let asked = false;
    const gate = await start(() => {
      asked = true;
      return permission.promise;
    });
    // A connection that is open and has never sent anything, as Go's client keeps them.
    const spare = connect({
      host: '127.0.0.1',
      port: gate.port,
      ca: tls.ca,
      servername: '',
    });
    await once(spare, 'secureConnect');
    const used = await ask(gate, review(web.object, v2.object));
    assert.equal(used.headers['connection'], 'keep-alive');

    const waiting = ask(gate, review(web.object, v2.annotate('pullgate.io/bypass', 'urgent').object));
    await until(() => asked, 'the request has arrived');
    const spareClosed = once(spare, 'close');
    const closed = gate.app.close();
    await assert.rejects(ask({ ...gate, agent: new Agent() }, {}), { code: 'ECONNREFUSED' });
    permission.resolve(true);
    const answer = await waiting;
    assert.equal(at(answer.body, 'response', 'auditAnnotations', 'decision'), 'Bypassed');
    assert.equal(answer.headers['connection'], 'close');
    await Promise.all([closed, spareClosed]);
  });

  test('waits 5 s for a request that does not end, which is then answered, and 7 s at most', async () => {
    const clock = manualClock();
    let asked = false;
    const never = () => {
      asked = true;
      return new Promise<boolean>(() => undefined);
    };
    const gate = await start(never, clock);
    const urgent = v2.annotate('pullgate.io/bypass', 'urgent').object;
    const answer = ask(gate, review(web.object, urgent));
    await until(() => asked, 'the request has arrived');
    const closed = gate.app.close();
    await until(() => clock.timers().length === 2, 'it waits');
    assert.deepEqual(clock.timers(), [5000, 7000]);
    clock.advance(5000);
    assertRefused(await answer, 408, 'PG_BODY_TIMEOUT');
    await closed;
  });

  test('an error that nobody expected is a 500 with its stack in the log', async () => {
    const gate = await start(() => Promise.reject(new Error('broken')));
    const urgent = v2.annotate('pullgate.io/bypass', 'urgent').object;
    assertRefused(await ask(gate, review(web.object, urgent)), 500, 'PG_INTERNAL');
    const line = gate.lines.find(({ level }) => level === 50);
    assert.match(String(at(line?.['err'], 'stack')), /broken/);
    await gate.close();
  });
});
