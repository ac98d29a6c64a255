/**
 * Login and TLS against a real broker: each mechanism delivers; what is wrong stops the sink with a reason that names
 * it, and heals without a restart of ours once somebody has corrected it on the broker's side.
 */
import assert from 'node:assert/strict';
import kafkajs from 'kafkajs';
import { beforeAll, expect, test } from 'vitest';
import { type Authority, authority } from '../../servers/certificates.ts';
import { type KafkaCluster, saslProperties, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import { assertEachOnce, consumeAll, deliver, events, newCourse, openPatiently, openSink } from './events.ts';

const SASL = 21330;
const TLS = 21340;
const file = fileScope();
let login: KafkaCluster;
let tls: KafkaCluster;
let ours: Authority;
let strange: Authority;
let client: Awaited<ReturnType<Authority['issue']>>;
let stranger: Awaited<ReturnType<Authority['issue']>>;

beforeAll(async () => {
  [ours, strange] = await Promise.all([authority(file), authority(file, 'Somebody else')]);
  const server = await ours.issue('broker');
  client = await ours.issue('client');
  stranger = await strange.issue('client');
  [login, tls] = await Promise.all([
    startKafka(file, {
      port: SASL,
      own: true,
      sasl: { users: { alice: 'right' } },
      properties: {
        // Rights count for topics that have any; the tests, on the internal listener, may do everything.
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS',
        'allow.everyone.if.no.acl.found': true,
      },
    }),
    startKafka(file, {
      port: TLS,
      own: true,
      tls: { key: server.key, certificate: server.certificate, clientCa: ours.ca },
    }),
  ]);
});

const limits = { KAFKA_CONNECT_TIMEOUT_MS: '3000', KAFKA_REQUEST_TIMEOUT_MS: '3000' };
const as = (mechanism: string, password: string, topic: string) => ({
  ...limits,
  KAFKA_BROKERS: `127.0.0.1:${SASL}`,
  KAFKA_TOPIC: topic,
  KAFKA_SASL_MECHANISM: mechanism,
  KAFKA_SASL_USER: 'alice',
  KAFKA_SASL_PASSWORD: password,
});
const withTls = (topic: string, more: Record<string, string>) => ({
  ...limits,
  KAFKA_BROKERS: `127.0.0.1:${TLS}`,
  KAFKA_TOPIC: topic,
  KAFKA_TLS_CERT: client.certificateFile,
  KAFKA_TLS_KEY: client.keyFile,
  ...more,
});

for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
  test(`logs in by ${mechanism}, and says so when the password is wrong`, async (t) => {
    const topic = `login-${mechanism}`;
    const sink = await openPatiently(as(mechanism, 'right', topic));
    t.onTestFinished(() => sink.close());
    await deliver(sink, events(0, 50));
    assertEachOnce(await consumeAll(login.internal, topic), events(0, 50));
    await assert.rejects(openSink(as(mechanism, 'wrong', topic)), {
      verdict: 'stop',
      code: 'SASL_AUTHENTICATION_FAILED',
    });
  });
}

test('no login where one is needed fails in time', async () => {
  await assert.rejects(openSink({ ...limits, KAFKA_BROKERS: `127.0.0.1:${SASL}`, KAFKA_TOPIC: 'none' }), {
    name: 'KafkaFailure',
  });
});

test('a password that is corrected on the broker heals the sink, and nothing is lost or sent twice', async (t) => {
  const topic = 'login-corrected';
  const env = as('plain', 'new', topic);
  await assert.rejects(openSink(env), { verdict: 'stop' });
  await login.stop();
  await login.start(saslProperties({ alice: 'new' }));
  const sink = await openPatiently(env);
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 100));
  // The password changes under a running sink: its connection ends with the broker, and the new login is refused.
  await login.stop();
  await login.start(saslProperties({ alice: 'other' }));
  const course = newCourse();
  const writing = deliver(sink, events(100, 100), { lane: 1 }, course);
  while (course.failures.stop === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await login.stop();
  await login.start(saslProperties({ alice: 'new' }));
  await writing;
  assertEachOnce(await consumeAll(login.internal, topic), events(0, 200));
});

// Goal: rights that are taken away hold events back and name the right; given back, they heal it without a restart.
// Method: a real authorizer, while the sink delivers.
test('a right that is taken away stops delivery with its name, and delivery goes on when it is given back', async (t) => {
  const topic = 'rights';
  const sink = await openPatiently(as('plain', 'new', topic));
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 50));
  const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, logLevel, ResourcePatternTypes } = kafkajs;
  const admin = new Kafka({ brokers: login.internal, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  t.onTestFinished(() => admin.disconnect());
  const rule = {
    resourceType: AclResourceTypes.TOPIC,
    resourceName: topic,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: 'User:alice',
    host: '*',
    operation: AclOperationTypes.WRITE,
    permissionType: AclPermissionTypes.DENY,
  };
  await admin.createAcls({ acl: [rule] });
  const course = newCourse();
  const writing = deliver(sink, events(50, 50), { lane: 1 }, course);
  await expect.poll(() => course.codes).toContain('TOPIC_AUTHORIZATION_FAILED');
  await admin.deleteAcls({ filters: [rule] });
  await writing;
  assert.deepEqual([course.deadLetters, course.failures.split], [[], 0]);
  assert.ok(course.failures.stop > 0);
  assertEachOnce(await consumeAll(login.internal, topic), events(0, 100));
});

test('TLS: delivers with the right authority and our certificate', async (t) => {
  const sink = await openPatiently(withTls('tls', { KAFKA_TLS_CA: ours.caFile }));
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 50));
  assertEachOnce(await consumeAll(tls.internal, 'tls'), events(0, 50));
});

test('TLS: a wrong authority stops the sink and names TLS; skipping the check delivers', async (t) => {
  await assert.rejects(openSink(withTls('tls-wrong', { KAFKA_TLS_CA: strange.caFile })), {
    verdict: 'stop',
    code: 'TLS',
  });
  await assert.rejects(openSink(withTls('tls-wrong', {})), { verdict: 'stop', code: 'TLS' });
  const sink = await openPatiently(withTls('tls-skip', { KAFKA_TLS_SKIP_VERIFY: 'true' }));
  t.onTestFinished(() => sink.close());
  await deliver(sink, events(0, 50));
  assertEachOnce(await consumeAll(tls.internal, 'tls-skip'), events(0, 50));
});

test('TLS: a certificate of a stranger, a missing one, an unreadable file and a plain connection are told apart from outages', async () => {
  const ca = { KAFKA_TLS_CA: ours.caFile };
  const foreign = { ...ca, KAFKA_TLS_CERT: stranger.certificateFile, KAFKA_TLS_KEY: stranger.keyFile };
  await assert.rejects(openSink(withTls('x', foreign)), { verdict: 'stop', code: 'TLS' });
  await assert.rejects(openSink(withTls('x', { ...ca, KAFKA_TLS_CERT: '', KAFKA_TLS_KEY: '' })), {
    verdict: 'stop',
    code: 'TLS',
  });
  await assert.rejects(openSink(withTls('x', { KAFKA_TLS_CA: '/no/such/file.pem' })), {
    verdict: 'stop',
    code: 'TLS',
    message: /KAFKA_TLS_CA/,
  });
  await assert.rejects(openSink(withTls('x', { ...ca, KAFKA_TLS_KEY: '' })), { verdict: 'stop', message: /together/ });
  await assert.rejects(openSink({ ...limits, KAFKA_BROKERS: `127.0.0.1:${TLS}`, KAFKA_TOPIC: 'x' }), {
    name: 'KafkaFailure',
  });
  await assert.rejects(openSink({ ...limits, ...ca, KAFKA_BROKERS: `127.0.0.1:${SASL}`, KAFKA_TOPIC: 'x' }), {
    name: 'KafkaFailure',
  });
});

test('a topic that the broker refuses to create stops the sink and names the topic', async () => {
  await assert.rejects(openSink({ ...as('plain', 'new', 'too-many-replicas'), KAFKA_REPLICATION: '3' }), {
    verdict: 'stop',
    code: 'INVALID_REPLICATION_FACTOR',
    message: /too-many-replicas/,
  });
});
