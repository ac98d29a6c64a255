/**
 * What `ringmain doctor --service=sms` finds out, beside what it asks every service: who may send, whether operators
 * can be reached, whether days, ledger and outbox are as they should be, whether ClickHouse answers. It changes nothing:
 * an operator is connected to, an SMSC also bound to, and sent nothing.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { pepperProblems } from '../access/pepper.ts';
import type { Naming } from '../kernel/config.ts';
import { error, type Finding, note, ok, warning } from '../kernel/finding.ts';
import { placeOf, textOf } from '../kernel/place.ts';
import { ClickHouse } from '../store/clickhouse/client.ts';
import type { PostgresLink } from '../store/postgres/connection.ts';
import { askingDatabase, examineJobs, examineSchema } from '../store/postgres/examine.ts';
import type { GivenOperator } from './operators/operator-option.ts';
import { tryBind } from './operators/smpp/examine.ts';
import { smsDays } from './partitions/days.ts';
import { clickHousePlace, usesChdb } from './reports/place.ts';
import type { SmsValues } from './sms.ts';

const ASK_MS_MAX = 3000;
/** Rows of the outbox that are counted. */
const ROWS_COUNTED = 100_000;
/** Rows that a relay carries within a second or two. */
const ROWS_MANY = 1000;
const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443, 'smpp:': 2775, 'smpps:': 3550 };

/** What the options of the role `api` tell by themselves. */
export function* examineApi({ sms, operators }: SmsValues): Generator<Finding> {
  if (sms.access === 'open')
    yield warning(
      'ACCESS=open: whoever reaches the port sends at the cost of every customer',
      'Leave ACCESS at keys, or let nobody in but what you trust.',
    );
  if (sms.adminKey === undefined)
    yield note('ADMIN_KEY is not set: the routes of administrators are off, the command line is not');
  if (operators.operators.length === 0)
    yield note(
      'the role api has no OPERATORS: receipts over HTTP are refused, and sms_accepted_total counts every message under ' +
        'operator="none"',
    );
}

/** What the database tells. */
export async function* inquireApi(values: SmsValues, named: Naming): AsyncGenerator<Finding> {
  const { access, postgres } = values;
  yield* askingDatabase(postgres.pgDsn, async function* (link) {
    if (!(yield* examineSchema(link, 'sms_logs', named('PG_DSN')))) return;
    for (const text of await pepperProblems({ pepper: access.keyPepper, dsn: postgres.pgDsn, service: 'sms' }))
      yield error(text, 'Set KEY_PEPPER to the secret that the keys were made with.');
    yield* examineCustomers(link);
    yield* examineDays(link);
    yield* examineOutbox(link);
    yield* examineJobs(link, 'sms');
  });
}

async function* examineCustomers(link: PostgresLink): AsyncGenerator<Finding> {
  const { rows } = await link.query<{ customers: number; broke: number }>(
    `SELECT count(*)::int AS customers, count(*) FILTER (WHERE balance = 0)::int AS broke FROM customers WHERE active`,
  );
  const { customers, broke } = rows[0]!;
  if (customers === 0)
    yield warning('there is no customer: every send is answered 404', 'ringmain sms customer add, then key add.');
  else yield ok(`${customers} customers are active, ${broke} of them with nothing left`);
}

async function* examineDays(link: PostgresLink): AsyncGenerator<Finding> {
  const { missing, strays } = await smsDays.state(link);
  if (missing.length > 0)
    yield error(
      `days are not made: ${missing.join(', ')}`,
      'Start the role partitions (ringmain sms partitions), or look for why its job fails.',
    );
  else yield ok('the days of messages and ledger are made ahead');
  for (const [table, rows] of Object.entries(strays))
    if (rows > 0)
      yield warning(
        `rows of ${table} lie in its default partition`,
        'The job partitions moves them; see RingmainSmsDefaultPartitionRows in deploy/RUNBOOK.md.',
      );
}

async function* examineOutbox(link: PostgresLink): AsyncGenerator<Finding> {
  const { rows } = await link.query<{ rows: number }>(
    `SELECT count(*)::int AS rows FROM (SELECT FROM sms_outbox LIMIT ${ROWS_COUNTED}) o`,
  );
  const waiting = rows[0]!.rows;
  if (waiting >= ROWS_MANY)
    yield warning(
      `${waiting}${waiting === ROWS_COUNTED ? ' or more' : ''} rows wait in the outbox: what is accepted is not carried on`,
      'Start the role api, which relays, and look whether Kafka answers.',
    );
  else yield ok(`${waiting} rows wait in the outbox`);
}

/** What the options of the role `worker` tell by themselves. */
export function* examineWorker({ operators, callbacks }: SmsValues): Generator<Finding> {
  const given = operators.operators;
  if (given.length === 0)
    yield warning('OPERATORS names no operator: messages wait until one is there', 'Set OPERATORS.');
  else if (!given.some(({ prefixes }) => prefixes.includes('+')))
    yield note(
      'no operator takes every number: a message to another prefix than those of OPERATORS is refused with 422',
    );
  for (const { name, token } of given)
    if (token === undefined)
      yield note(`operator ${name} has no token: it cannot send receipts to /v1/receipts/${name}`);
  if (callbacks.callbackAllowPrivate)
    yield warning(
      'CALLBACK_ALLOW_PRIVATE is on: customers choose addresses that only this machine reaches',
      'Leave it off unless customers are your own services.',
    );
}

/** Whether operators can be reached. */
export async function* inquireWorker({ operators }: SmsValues): AsyncGenerator<Finding> {
  for (const operator of operators.operators) yield await operatorFinding(operator);
}

interface Place {
  readonly host: string;
  readonly port: number;
}

function operatorFinding(operator: GivenOperator): Promise<Finding> {
  const { protocol, hostname, port } = new URL(operator.url);
  const place = { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? DEFAULT_PORTS[protocol]! : Number(port) };
  return operator.driver === 'smpp' ? bindFinding(operator, place) : connectFinding(operator, place);
}

const awayFinding = (name: string, place: Place, reason: string): Finding =>
  error(
    `operator ${name} cannot be reached: ${placeOf(place)}, reason=${reason}`,
    'Correct its url in OPERATORS, or open the way: its messages wait, or go to the next operator that fits.',
  );

async function bindFinding(operator: GivenOperator, place: Place): Promise<Finding> {
  const { name } = operator;
  const tried = await tryBind(operator, ASK_MS_MAX);
  if (tried.kind === 'away') return awayFinding(name, place, tried.reason);
  if (tried.kind === 'refused')
    return error(
      `operator ${name} refuses the bind: ${placeOf(place)}, reason=${tried.reason}`,
      'Correct system_id, password or system_type in OPERATORS, or ask the operator whether this address may bind.',
    );
  if (tried.kind === 'taken')
    return note(
      `operator ${name} takes one bind of this system_id, and somebody has it: ${placeOf(place)}; that is as it should ` +
        'be while a worker runs',
    );
  const { systemId, version } = tried.smsc;
  const spoken = version === undefined ? '' : `, SMPP ${version >> 4}.${version & 15}`;
  return ok(`operator ${name} takes the bind: ${placeOf(place)}, its system_id=${systemId || 'none'}${spoken}`);
}

async function connectFinding({ name }: GivenOperator, place: Place): Promise<Finding> {
  const socket = connect(place);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(ASK_MS_MAX) });
    return ok(`operator ${name} takes connections: ${placeOf(place)}`);
  } catch (cause) {
    const reason = (cause as Error).name === 'AbortError' ? `no answer within ${ASK_MS_MAX} ms` : textOf(cause);
    return awayFinding(name, place, reason);
  } finally {
    socket.destroy();
  }
}

/** Whether ClickHouse answers. chdb is not asked: its folder has one owner, which may run. */
export async function* inquireReporting(values: SmsValues): AsyncGenerator<Finding> {
  if (values.reports.reports === 'off') {
    yield note('REPORTS=off: nothing is kept for reports');
    return;
  }
  if (usesChdb(values)) {
    yield note('CLICKHOUSE_URL is not set: reports are kept by chdb, beside the one process with the role reporting');
    return;
  }
  const client = new ClickHouse({ ...clickHousePlace(values), connections: 1 });
  try {
    const [row] = await client.rows<{ version: string }>('SELECT version() AS version', { timeoutMs: ASK_MS_MAX });
    yield ok(`ClickHouse ${row?.version ?? ''} answers: ${client.place}`);
  } catch (cause) {
    yield error(
      `ClickHouse cannot be asked: ${textOf(cause)}`,
      'Correct CLICKHOUSE_URL, or start it: records wait in the log or the topic meanwhile.',
    );
  } finally {
    await client.close();
  }
}
