/**
 * Goal: `ringmain doctor` says which right a consumer lacks, before it waits for it: on the topic, and on its group.
 * Method: a real broker that allows nothing but what a rule says; each login lacks one right.
 */
import kafkajs from 'kafkajs';
import { beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../../src/kernel/config.ts';
import { type KafkaConfig, kafkaConfig } from '../../../src/sinks/kafka/config.ts';
import { examineReading } from '../../../src/store/kafka/examine.ts';
import { type KafkaCluster, startKafka } from '../../servers/kafka.ts';
import { fileScope } from '../../servers/scope.ts';
import { client, makeTopic } from '../../servers/topics.ts';

const PORT = 20_500;
const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;
const { TOPIC, GROUP } = AclResourceTypes;
const { READ, WRITE, DESCRIBE } = AclOperationTypes;
const file = fileScope();
let kafka: KafkaCluster;

/** What each login may do. */
const rights = {
  reader: [[TOPIC, READ] as const, [GROUP, READ] as const],
  writer: [[TOPIC, WRITE] as const, [GROUP, READ] as const],
  stranger: [[GROUP, READ] as const],
  groupless: [[TOPIC, READ] as const],
  onlooker: [[TOPIC, READ] as const, [GROUP, DESCRIBE] as const],
} as const;

beforeAll(async () => {
  kafka = await startKafka(file, {
    port: PORT,
    own: true,
    sasl: { users: Object.fromEntries(Object.keys(rights).map((user) => [user, 'word'])) },
    properties: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': 'User:ANONYMOUS',
    },
  });
  await makeTopic(kafka.internal[0]!, 'work', 2);
  const admin = client(...kafka.internal).admin();
  await admin.connect();
  const acl = Object.entries(rights).flatMap(([user, list]) =>
    list.map(([resourceType, operation]) => ({
      ...{ resourceType, operation, principal: `User:${user}`, host: '*', permissionType: AclPermissionTypes.ALLOW },
      ...{
        resourceName: resourceType === TOPIC ? 'work' : 'workers',
        resourcePatternType: ResourcePatternTypes.LITERAL,
      },
    })),
  );
  await admin.createAcls({ acl });
  await admin.disconnect();
});

async function examined(env: Readonly<Record<string, string>>, topics: readonly string[] = ['work']) {
  const { values } = loadConfig([kafkaConfig], { argv: [], env });
  const found: string[] = [];
  for await (const { severity, text, advice } of examineReading(
    values['kafka'] as unknown as KafkaConfig,
    { topics, groupId: 'workers' },
    'KAFKA_BROKERS',
  ))
    found.push(`${severity}: ${text}${advice === undefined ? '' : `: ${advice}`}`);
  return found;
}

const login = (user: keyof typeof rights) => ({
  ...{ KAFKA_BROKERS: `127.0.0.1:${PORT}`, KAFKA_CONNECT_TIMEOUT_MS: '10s' },
  ...{ KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USER: user, KAFKA_SASL_PASSWORD: 'word' },
});

const mayRead = 'ok: permission to read topic work';
const mayJoin = 'ok: permission to read as consumer group workers';
const mayNotRead = 'error: no permission to read topic work: Grant READ and DESCRIBE on topic work.';
const mayNotJoin = 'error: no permission to read as consumer group workers: Grant READ on group workers.';

test('each right that is missing is named, and no other', async () => {
  // Rules reach the broker a moment after they were made.
  await expect.poll(() => examined(login('reader'))).toEqual([mayRead, mayJoin]);
  await expect.poll(() => examined(login('onlooker'))).toEqual([mayRead, mayNotJoin]);
  expect(await examined(login('writer'))).toEqual([mayNotRead, mayJoin]);
  expect(await examined(login('stranger'))).toEqual([mayNotRead, mayJoin]);
  expect(await examined(login('groupless'))).toEqual([mayRead, mayNotJoin]);
});

test('a topic that is not there is no fault of the reader; a broker that is away is', async () => {
  expect(await examined({ KAFKA_BROKERS: kafka.internal.join() }, ['work', 'nowhere'])).toEqual([
    mayRead,
    expect.stringMatching(/^note: topic nowhere is not there yet/),
    mayJoin,
  ]);
  expect(await examined({ KAFKA_BROKERS: `127.0.0.1:${PORT + 3}` })).toEqual([
    expect.stringMatching(/^error: .*: Start the brokers, or correct KAFKA_BROKERS; until then nothing is read\.$/),
  ]);
});
