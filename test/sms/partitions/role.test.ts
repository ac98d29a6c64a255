/**
 * Goal: `ringmain sms partitions` makes days at start, is red while tomorrow's is missing, and archives once although two
 * processes run. Method: two built processes on one real Postgres.
 */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../servers/process.ts';
import { openLink, startDatabase } from '../database.ts';
import { startSms } from '../running.ts';

test('two processes of the role: days are made at start, one of them archives, and both are red without tomorrow', async (t) => {
  const server = await startDatabase(t, 24_910);
  const link = await openLink(server.dsn);
  t.onTestFinished(() => link.close());
  await link.query(
    `INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, status, money, valid_until)
     SELECT now() - n % 20 * interval '1 day', 'M' || n, 'ada', '+98912', 'x', 1, 1, 'delivered', 'captured', now()
     FROM generate_series(1, 20000) AS n`,
  );
  // Under way in a day that is past its retention.
  await link.query(
    `INSERT INTO sms_logs (created_at, message_id, customer_id, recipient, body, segments, cost, valid_until)
     VALUES (now() - interval '12 days', 'M', 'ada', '+98912', 'x', 1, 1, now())`,
  );
  const archive = temporaryFolder('ringmain-archive-').folder;
  const env = { ARCHIVE_DIR: archive, RETENTION_DAYS: '7' };
  const wishes = { dsn: server.dsn, role: 'partitions', env, wait: false };
  const both = await Promise.all([startSms(t, { ...wishes, port: 24_911 }), startSms(t, { ...wishes, port: 24_912 })]);
  const ready = async (url: string) => (await fetch(`${url}/readyz`).catch(() => undefined))?.status;
  for (const { url } of both) await expect.poll(() => ready(url)).toBe(200);
  const count = async (from: string) =>
    (await link.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${from}`)).rows[0]!.n;
  await expect.poll(() => count("sms_archives WHERE state = 'dropped'")).toBeGreaterThanOrEqual(11);
  await expect.poll(() => count("ringmain_jobs WHERE job = 'partitions' AND outcome = 'ok'")).toBe(1);
  const lines = both.flatMap(({ process }) => process.log.split('\n'));
  expect(lines.filter((line) => line.includes('were archived and dropped'))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('"level":"error"'))).toEqual([]);
  const archived = readdirSync(archive).length;
  expect((await count('sms_logs')) + archived * 1000).toBe(20_001);
  expect(readdirSync(archive).every((name) => /^sms_logs_\d{8}_closed_\d+\.parquet$/.test(name))).toBe(true);
  expect(await count('sms_logs_default')).toBe(0);

  // Somebody takes tomorrow away, and holds the table so that it cannot be made again.
  const { rows } = await link.query<{ name: string }>(
    "SELECT 'sms_logs_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYYMMDD') AS name",
  );
  await link.query(`BEGIN; DROP TABLE ${rows[0]!.name}; COMMIT; BEGIN; LOCK TABLE ONLY sms_logs IN SHARE MODE`);
  await both[1]!.process.end('SIGKILL');
  const again = await startSms(t, { ...wishes, port: 24_912, folder: both[1]!.folder });
  await expect.poll(async () => (await fetch(`${again.url}/readyz`)).text()).toContain(rows[0]!.name);
  expect(await ready(again.url)).toBe(503);
  await link.query('COMMIT');
  await expect.poll(() => ready(again.url)).toBe(200);
  const metrics = await (await fetch(`${again.url}/metrics`)).text();
  expect(metrics).toContain('ringmain_sms_partitions_missing 0');
  // It has never run the job.
  expect(metrics).toContain('ringmain_sms_partitions_held 1');
});
