/** Goal: the page of reports sees how operators stand in every worker that lives. Method: a real Postgres, two workers. */
import assert from 'node:assert/strict';
import { beforeAll, test } from 'vitest';
import type { BreakerState } from '../../../src/sms/operators/breaker.ts';
import { readPrefixes, readStandings, StateTeller } from '../../../src/sms/operators/states.ts';
import { fileScope } from '../../servers/scope.ts';
import { openLink, type PostgresLink, startDatabase } from '../database.ts';

const scope = fileScope();
let dsn: string;
let link: PostgresLink;
beforeAll(async () => {
  ({ dsn } = await startDatabase(scope, 26_600));
  link = await openLink(dsn);
  scope.onTestFinished(() => link.close());
});

const operator = (name: string, ...prefixes: string[]) => ({
  name,
  given: { prefixes },
  busy: 0,
  breaker: 'closed' as BreakerState,
  up: true,
  state() {
    return this.up ? ('up' as const) : ('away' as const);
  },
});

test('standings are summed over workers; those of a worker that ended, or that is silent, are not among them', async () => {
  const [mci, other, irancell] = [
    operator('mci', '+9891'),
    operator('mci', '+9891'),
    operator('irancell', '+9890', '+9893'),
  ];
  const first = new StateTeller(() => openLink(dsn), [mci, irancell]);
  const second = new StateTeller(() => openLink(dsn), [other]);
  await Promise.all([first.tell(), second.tell()]);
  assert.deepEqual(await readStandings(link), [
    { operator: 'irancell', workers: 1, up: 1, open: 0, in_flight: 0 },
    { operator: 'mci', workers: 2, up: 2, open: 0, in_flight: 0 },
  ]);

  const prefixes = async () => [...(await readPrefixes(link))].sort();
  assert.deepEqual(await prefixes(), ['+9890', '+9891', '+9893']);
  // A worker of the build before tells none: it may carry every number.
  await link.query(`INSERT INTO sms_operator_states (process, operator, up, breaker, in_flight)
    VALUES (gen_random_uuid(), 'old', true, 'closed', 0)`);
  assert.deepEqual(await prefixes(), ['+', '+9890', '+9891', '+9893']);
  await link.query("DELETE FROM sms_operator_states WHERE operator = 'old'");

  Object.assign(mci, { busy: 3, breaker: 'open', up: false });
  Object.assign(other, { busy: 4 });
  await Promise.all([first.tell(), second.tell()]);
  const [, both] = await readStandings(link);
  assert.deepEqual(both, { operator: 'mci', workers: 2, up: 1, open: 1, in_flight: 7 });

  await second.close();
  assert.deepEqual((await readStandings(link))[1], { operator: 'mci', workers: 1, up: 0, open: 1, in_flight: 3 });
  await link.query("UPDATE sms_operator_states SET told_at = now() - interval '16 s'");
  assert.deepEqual(await prefixes(), []);
  assert.deepEqual(await readStandings(link), []);
  await first.tell();
  assert.equal((await readStandings(link)).length, 2);
  await first.close();
  assert.deepEqual((await link.query('SELECT FROM sms_operator_states')).rows, []);
});

test('a database that is away is no matter of the teller, and told again when it is back', async () => {
  let away = true;
  const teller = new StateTeller(async () => {
    if (away) throw new Error('away');
    return openLink(dsn);
  }, [operator('mci')]);
  await teller.tell();
  away = false;
  await teller.tell();
  assert.equal((await readStandings(link)).length, 1);
  await teller.close();
});
