/**
 * Load of the output `logs`: what a batch of request records changes, in the one transaction that moves the cursor. So
 * after kill -9 a request is in the log and in its user's usage once, or in neither and still in the journal.
 *
 *   request_logs  a row per request, by COPY
 *   usage_months  requests and bytes of each user in each month
 *   api_keys      when a key was used last, by the minute: one write per key and minute, however many requests
 */
import type { SinkBatch } from '../../delivery/contract.ts';
import { receivedMsAt } from '../../events/record.ts';
import { parseAddress, parsed } from '../../http/address.ts';
import type { Load, MakeLoad } from '../../sinks/postgres/load.ts';
import type { Transaction } from '../../sinks/postgres/transaction.ts';
import { CopyWriter } from '../../store/postgres/copy-writer.ts';
import type { GatewayValues } from '../gateway.ts';
import { refusals } from '../metrics.ts';
import { StoredUsage, type UsageFigures } from '../quota/stored-usage.ts';
import { decodeRequest } from '../record.ts';
import type { GatewayShared } from '../shared.ts';
import { type Place, RecordRow } from './record-row.ts';

const columns = [
  'user_id',
  'key_id',
  'backend_id',
  'request_id',
  'method',
  'request_path',
  'response_status',
  'outcome',
  'response_time_ms',
  'request_size_bytes',
  'response_size_bytes',
  'client_ip',
  'created_at',
] as const;
const COPY = `COPY request_logs (${columns.join(', ')}) FROM STDIN (FORMAT binary)`;
const INT4_MAX = 2 ** 31 - 1;
const MINUTE_MS = 60_000;

// Rows are locked in one order by every process.
const ADD_USAGE = `INSERT INTO usage_months AS u (user_id, month, requests, bytes)
  SELECT user_id, make_date(month / 12, month % 12 + 1, 1), requests, bytes
  FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[]) AS n (user_id, month, requests, bytes)
  ORDER BY user_id, month
  ON CONFLICT (month, user_id) DO UPDATE SET requests = u.requests + excluded.requests,
    bytes = u.bytes + excluded.bytes, changed_at = excluded.changed_at
  RETURNING user_id, (extract(year FROM month) * 12 + extract(month FROM month) - 1)::int AS month, requests, bytes`;

// A key that somebody is changing now is left for the next minute.
const TOUCH_KEYS = `WITH used AS (
    SELECT k.id, n.at FROM unnest($1::text[], $2::float8[]) AS n (id, at) JOIN api_keys AS k USING (id)
    WHERE k.last_used_at IS NULL OR k.last_used_at < to_timestamp(n.at)
    FOR UPDATE OF k SKIP LOCKED
  )
  UPDATE api_keys AS k SET last_used_at = to_timestamp(used.at) FROM used WHERE k.id = used.id`;

interface TotalRow extends Record<string, unknown> {
  readonly user_id: string;
  readonly month: number;
  readonly requests: string;
  readonly bytes: string;
}

/** What of a batch is not a row: usage by user and month, and keys that were used. */
class Sums {
  readonly #usage = new Map<number, Map<number, Usage>>();
  readonly keys = new Set<string>();
  minute = 0;
  #last: Usage | undefined;

  /** `keyId`: of a key that was used. */
  add(userId: number, month: number, keyId: string | undefined, bytes: number, receivedMs: number): void {
    this.minute = Math.max(this.minute, Math.floor(receivedMs / MINUTE_MS));
    if (keyId !== undefined) this.keys.add(keyId);
    if (Number.isNaN(month) || Number.isNaN(userId)) return;
    let usage = this.#last;
    if (usage?.userId !== userId || usage.month !== month) {
      usage = this.#of(userId, month);
      this.#last = usage;
    }
    usage.requests += 1;
    usage.bytes += bytes;
  }

  #of(userId: number, month: number): Usage {
    const months = this.#usage.get(userId) ?? new Map<number, Usage>();
    this.#usage.set(userId, months);
    const usage = months.get(month) ?? { userId, month, requests: 0, bytes: 0 };
    months.set(month, usage);
    return usage;
  }

  get usage(): readonly UsageFigures[] {
    return [...this.#usage.values()].flatMap((months) => [...months.values()]);
  }
}

interface Usage extends UsageFigures {
  requests: number;
  bytes: number;
}

export class LogLoad implements Load {
  readonly #copy = new CopyWriter();
  readonly #row = new RecordRow();
  /** Undefined in tools: there is nobody who counts along. */
  readonly #usage: StoredUsage | undefined;
  /** Keys whose use in this minute stands in the database. */
  #touched = new Set<string>();
  #minute = 0;

  constructor(usage?: StoredUsage) {
    this.#usage = usage;
  }

  async load(transaction: Transaction, batch: SinkBatch): Promise<void> {
    const sums = new Sums();
    await transaction.copy(COPY, this.#rows(batch, sums));
    this.#copy.done();
    const deltas = sums.usage;
    this.#usage?.begin(batch, deltas);
    if (deltas.length > 0) {
      const { rows } = await transaction.query<TotalRow>(ADD_USAGE, [
        deltas.map(({ userId }) => userId),
        deltas.map(({ month }) => month),
        deltas.map(({ requests }) => requests),
        deltas.map(({ bytes }) => bytes),
      ]);
      transaction.onCommit(() => this.#usage?.stored(rows.map(totalOf)));
    }
    await this.#touch(transaction, sums);
  }

  abandon(): void {
    this.#copy.abandon();
    this.#usage?.failed();
  }

  #rows({ buffer, offsets, count }: SinkBatch, sums: Sums): Buffer {
    this.#copy.begin();
    for (let i = 0; i < count; i += 1) {
      if (this.#row.read(buffer, offsets[i]!)) this.#readRow(buffer, receivedMsAt(buffer, offsets[i]!), sums);
      else this.#decodedRow(buffer, offsets[i]!, sums);
    }
    return this.#copy.end();
  }

  /** The fields as they lie in the journal. */
  #readRow(buffer: Buffer, receivedMs: number, sums: Sums): void {
    const row = this.#row;
    const copy = this.#copy;
    copy.row(columns.length);
    copy.int8(idOf(row.userId));
    this.#text(buffer, row.key);
    copy.int8(idOf(row.backendId));
    this.#text(buffer, row.id);
    this.#text(buffer, row.method);
    if (row.escaped)
      copy.text(storable(JSON.parse(buffer.toString('utf8', row.path.from - 1, row.path.to + 1)) as string));
    else this.#text(buffer, row.path);
    copy.int2(row.status);
    this.#text(buffer, row.outcome);
    copy.int4(Math.min(row.ms, INT4_MAX));
    copy.int8(row.bytesIn);
    copy.int8(row.bytesOut);
    this.#inet(row.ip.from < 0 ? '' : buffer.toString('latin1', row.ip.from, row.ip.to));
    copy.instant(receivedMs);
    const used =
      row.key.from >= 0 &&
      (!Number.isNaN(row.month) || letIn(buffer.toString('latin1', row.outcome.from, row.outcome.to)));
    const keyId = used ? buffer.toString('latin1', row.key.from, row.key.to) : undefined;
    sums.add(row.userId, row.month, keyId, row.bytesOut, receivedMs);
  }

  #text(buffer: Buffer, { from, to }: Place): void {
    if (from < 0) this.#copy.text(undefined);
    else this.#copy.bytes(buffer, from, to);
  }

  /** Of a line that is written otherwise than ours are. */
  #decodedRow(buffer: Buffer, offset: number, sums: Sums): void {
    const record = decodeRequest(buffer, offset);
    const copy = this.#copy;
    copy.row(columns.length);
    copy.int8(record.userId);
    copy.text(record.keyId);
    copy.int8(record.backendId);
    copy.text(record.requestId);
    copy.text(record.method);
    copy.text(storable(record.target));
    copy.int2(record.status);
    copy.text(record.outcome);
    copy.int4(Math.min(record.durationMs, INT4_MAX));
    copy.int8(record.bytesIn);
    copy.int8(record.bytesOut);
    this.#inet(record.address);
    copy.instant(record.receivedMs);
    const { userId = Number.NaN, month = Number.NaN, keyId, outcome, bytesOut, receivedMs } = record;
    sums.add(userId, month, letIn(outcome) ? keyId : undefined, bytesOut, receivedMs);
  }

  #inet(address: string): void {
    const length = parseAddress(address);
    this.#copy.inet(length === 0 ? undefined : parsed.subarray(0, length));
  }

  async #touch(transaction: Transaction, { keys, minute: latest }: Sums): Promise<void> {
    const minute = Math.max(this.#minute, latest);
    const known = minute === this.#minute ? this.#touched : new Set<string>();
    const used = new Set([...keys].filter((id) => !known.has(id)));
    if (used.size === 0) return;
    const ids = [...used].sort();
    await transaction.query(TOUCH_KEYS, [ids, ids.map(() => minute * 60)]);
    transaction.onCommit(() => {
      this.#minute = minute;
      this.#touched = known;
      for (const id of ids) known.add(id);
    });
  }
}

const refused: ReadonlySet<string> = new Set(refusals);
/** Who shows a key that is refused does not use it. */
const letIn = (outcome: string): boolean => !refused.has(outcome);

const idOf = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value);

/** Postgres keeps no NUL in a text. */
const storable = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text);

const totalOf = ({ user_id: userId, month, requests, bytes }: TotalRow): UsageFigures => ({
  userId: Number(userId),
  month,
  requests: Number(requests),
  bytes: Number(bytes),
});

export default (({ shared, life }) =>
  () =>
    new LogLoad(shared === undefined ? undefined : new StoredUsage(shared.usage, life))) satisfies MakeLoad<
  GatewayValues,
  GatewayShared
>;
