/** Link pool against a real Postgres: how many sessions, in which order, and what it says while the server is away. */
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { openLink, type PostgresLink } from '../../../src/store/postgres/connection.ts';
import { inTransaction } from '../../../src/store/postgres/in-transaction.ts';
import { LinkPool } from '../../../src/store/postgres/pool.ts';
import { fastSettings, type PostgresServer, startPostgres } from '../../servers/postgres.ts';
import { fileScope } from '../../servers/scope.ts';

const scope = fileScope();
let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres(scope, { port: 24002, settings: fastSettings, own: true });
});

class Away extends Error {}

function opened(sessions: number) {
  const told: (string | undefined)[] = [];
  let openings = 0;
  const pool = new LinkPool({
    open: () => {
      openings += 1;
      return openLink(server.dsn, { connectTimeoutMs: 2000, queryTimeoutMs: 2000 });
    },
    sessions,
    away: (cause) => new Away('away', { cause }),
    told: (away) => void told.push(away),
  });
  onTestFinished(() => pool.close());
  return { pool, told, openings: () => openings };
}

const pid = async (link: PostgresLink): Promise<number> =>
  (await link.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;

test('work has a session for itself; as many run as there are sessions, the others wait in their order', async () => {
  const { pool, openings } = opened(2);
  const order: number[] = [];
  let running = 0;
  let most = 0;
  const pids = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      pool.use(async (link) => {
        order.push(n);
        running += 1;
        most = Math.max(most, running);
        await link.query('SELECT pg_sleep(0.01)');
        running -= 1;
        return pid(link);
      }),
    ),
  );
  expect([most, openings(), new Set(pids).size]).toEqual([2, 2, 2]);
  // The first two open their sessions side by side.
  expect(order.slice(0, 2).sort()).toEqual([0, 1]);
  expect(order.slice(2)).toEqual([2, 3, 4, 5, 6, 7]);
});

test('what the work throws about its question goes through, and its session is used again', async () => {
  const { pool, openings, told } = opened(1);
  await expect(pool.use((link) => link.query('SELECT nothing'))).rejects.toThrow(/nothing/);
  await expect(
    pool.use((link) =>
      inTransaction(link, async () => {
        throw new RangeError('mine');
      }),
    ),
  ).rejects.toThrow(RangeError);
  expect(await pool.use((link) => link.query('SELECT txid_current_if_assigned() AS t'))).toMatchObject({
    rows: [{ t: null }],
  });
  expect([openings(), told]).toEqual([1, []]);
});

test('what cannot be done now is told as away, and the session is used again', async () => {
  const { pool, openings } = opened(1);
  await expect(pool.use((link) => link.query('SET LOCAL statement_timeout = 20; SELECT pg_sleep(1)'))).rejects.toThrow(
    Away,
  );
  expect(await pool.use(async () => 1)).toBe(1);
  expect(openings()).toBe(1);
});

test('a session that died while it stood idle is replaced, and no work is done twice', async () => {
  const { pool, openings } = opened(1);
  const victim = await pool.use(pid);
  const other = await openLink(server.dsn);
  onTestFinished(() => other.close());
  await other.query('SELECT pg_terminate_backend($1)', [victim]);
  await expect
    .poll(async () => (await other.query('SELECT FROM pg_stat_activity WHERE pid = $1', [victim])).rows.length)
    .toBe(0);
  // It knows of most deaths by the closed socket; of others by asking a session that stood idle for half a second.
  await expect.poll(() => pool.use(pid)).not.toBe(victim);
  expect(openings()).toBe(2);
  let done = 0;
  const lost = pool.use(async (link) => {
    done += 1;
    await link.query('SELECT pg_terminate_backend(pg_backend_pid())');
  });
  await expect(lost).rejects.toThrow(Away);
  expect(done).toBe(1);
});

test('while the server is away nobody waits for it; it is said once, and once that it is back', async () => {
  const { pool, told, openings } = opened(2);
  expect(await pool.use(async () => 1)).toBe(1);
  // In order: children of a postmaster that is killed answer for a moment more.
  await server.stop();
  const refused = await Promise.allSettled(
    Array.from({ length: 20 }, () => pool.use((link) => link.query('SELECT 1'))),
  );
  expect(refused.every((one) => one.status === 'rejected' && one.reason instanceof Away)).toBe(true);
  // Those that come in the half second after a failed attempt do not try.
  expect(openings()).toBeLessThan(6);
  expect(told).toEqual([expect.stringMatching(/ECONNREFUSED|closed the connection|terminat/)]);
  await server.restart();
  await expect.poll(() => pool.use(async (link) => (await pid(link)) > 0).catch(() => false)).toBe(true);
  expect(told).toEqual([expect.any(String), undefined]);
});
