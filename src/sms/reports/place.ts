/** Where ClickHouse is, for every thread: the server of CLICKHOUSE_URL, or the process of chdb beside this one. */
import { createHmac } from 'node:crypto';
import { type ClickHousePlace, loginOf } from '../../store/clickhouse/login.ts';
import type { SmsValues } from '../sms.ts';

export type PlaceValues = Pick<SmsValues, 'access' | 'clickhouse' | 'postgres'>;

export const DATABASE = 'sms';
const USER = 'ringmain';

/**
 * A login that only the threads of this installation know, for other users of this machine reach the port too. It is
 * made of what all of them have been given, so nothing has to be handed around.
 */
function password({ access, postgres }: PlaceValues): string {
  const known = `${access.keyPepper ?? ''}\0${postgres.pgDsn ?? ''}`;
  return createHmac('sha256', known).update('ringmain chdb').digest('hex');
}

export const usesChdb = ({ clickhouse }: Pick<SmsValues, 'clickhouse'>): boolean =>
  clickhouse.clickhouseUrl === undefined;

export function clickHousePlace(values: PlaceValues): ClickHousePlace {
  const { clickhouseUrl, clickhouseTlsCa, chdbPort } = values.clickhouse;
  return clickhouseUrl === undefined
    ? { url: `http://${USER}:${password(values)}@127.0.0.1:${chdbPort}/${DATABASE}`, ca: undefined }
    : { url: clickhouseUrl, ca: clickhouseTlsCa };
}

/**
 * An insert that takes longer is refused by the server. `inserted_at` of a row is therefore at most so much older than
 * the moment at which the row can be read: the sums count on it (rollup.ts).
 */
export const INSERT_S_MAX = 20;

/**
 * Options of the output `reports`: kind http posts lines of JSON, and the insert stands in the URL. Members that the
 * table has no column for (event_id) are passed over; null is the default of its column.
 */
export function ingestOptions(values: PlaceValues): Readonly<Record<string, unknown>> {
  const { url, ca } = clickHousePlace(values);
  const { origin, database, authorization } = loginOf(url);
  const search = new URLSearchParams({
    database,
    query: 'INSERT INTO sms_raw FORMAT JSONEachRow',
    input_format_skip_unknown_fields: '1',
    input_format_null_as_default: '1',
    max_execution_time: String(INSERT_S_MAX),
    // The log forgets what was answered: a profile of the server must not answer before the rows are in the table.
    async_insert: '0',
    // Late states of many days may come together.
    max_partitions_per_insert_block: '0',
  });
  return { httpSinkUrl: `${origin}/?${search}`, httpSinkAuthorization: authorization, httpSinkTlsCa: ca };
}
