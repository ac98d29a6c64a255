/** `ringmain sms topics create` and `ringmain sms seed`, against a real Kafka and a real Postgres. */
import { Kafka } from 'kafkajs';
import { expect, test } from 'vitest';
import { audit } from '../../../src/sms/money/audit.ts';
import { runSeed } from '../../../src/sms/setup/seed-command.ts';
import { runTopics } from '../../../src/sms/setup/topics-command.ts';
import service from '../../../src/sms/sms.ts';
import { topics } from '../../../src/sms/topics.ts';
import { startKafka } from '../../servers/kafka.ts';
import { type ToolRun, toolRun } from '../../service/tool/run.ts';
import { openLink, startDatabase } from '../database.ts';

test('topics are made with as many partitions as asked for, once; what Kafka refuses and its absence are one line', async (t) => {
  const { brokers } = await startKafka(t, { port: 24_930 });
  const run = (...argv: string[]): Promise<ToolRun> =>
    toolRun(() => runTopics(service, ['create', ...argv, `--kafka-brokers=${brokers[0]}`]));
  expect(await run('--partitions=0')).toMatchObject({ code: 64 });
  expect(await run('--replication=3')).toEqual({
    code: 1,
    said: expect.stringMatching(/^topic sms\.accepted: INVALID_REPL/),
  });
  expect(await run('--partitions=5', '--replication=1')).toEqual({
    code: 0,
    said: expect.stringContaining('sms.express made\n'),
  });
  expect((await run('--partitions=7')).said).toContain('sms.accepted is there\n');
  expect((await run('--partitions=2', '--kafka-prefix=here.')).said).toContain('here.sms.express made\n');
  const admin = new Kafka({ brokers: [...brokers], logLevel: 0 }).admin();
  await admin.connect();
  // A broker tells of a new topic a moment later.
  const partitions = async () => {
    const { topics: found } = await admin.fetchTopicMetadata({ topics: [...topics] });
    return found.map(({ partitions }) => partitions.length);
  };
  await expect.poll(() => partitions().catch(() => undefined)).toEqual([5, 5, 5, 5]);
  await admin.disconnect();
  const away = await toolRun(() =>
    runTopics(service, ['create', '--kafka-brokers=127.0.0.1:24999', '--kafka-connect-timeout-ms=500ms']),
  );
  expect(away).toEqual({ code: 75, said: expect.stringMatching(/^the topics cannot be made now: .*$/) });
  expect(await toolRun(() => runTopics(service, ['create']))).toEqual({
    code: 78,
    said: 'KAFKA_BROKERS must be set',
  });
});

test('seed adds customers whose balances the ledger proves, and leaves a database alone that is in use', async (t) => {
  const server = await startDatabase(t, 24_920);
  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  const run = (...argv: string[]): Promise<ToolRun> =>
    toolRun(() => runSeed(service, [...argv, `--pg-dsn=${server.dsn}`]));
  expect(await run('--customers=0')).toMatchObject({ code: 64 });
  expect(await run('--customers=2000', '--balance=500')).toEqual({
    code: 0,
    said: '2000 of 2000 customers were added: test-1 to test-2000, balance 500 each\n',
  });
  expect(await audit(link)).toEqual({ customers: 2000, transfers: 2000, differences: [] });
  expect(await run()).toEqual({
    code: 1,
    said: expect.stringMatching(/^the database must be empty, or --force given/),
  });
  await link.query("UPDATE customers SET name = 'mine' WHERE customer_id = 'test-1'");
  expect((await run('--force', '--customers=2001')).said).toContain('1 of 2001 customers were added');
  const { rows } = await link.query<{ name: string }>("SELECT name FROM customers WHERE customer_id = 'test-1'");
  expect(rows[0]!.name).toBe('mine');
  expect((await audit(link)).differences).toEqual([]);
});
