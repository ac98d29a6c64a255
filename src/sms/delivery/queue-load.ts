/**
 * Load of the outputs `work` and `express-work`: messages into sms_queue. One that is there already is left as it is,
 * and one that has ended already is weeded out when its turn comes (attempts.ts): records may come more than once.
 */
import type { Load, MakeLoad } from '../../sinks/postgres/load.ts';
import { int2Array, int8Array, textArray } from '../../store/postgres/binary-array.ts';
import { BadRecord, type QueueRow, readRecord } from './record.ts';
import { shardOf } from './shard.ts';

// In order, so that two processes that load the same rows do not wait for each other in a circle.
export const QUEUE_SQL = `INSERT INTO sms_queue
    (message_id, customer_id, shard, express, segments, recipient, accepted_ms, valid_ms, due_ms)
  SELECT message_id, customer_id, shard, express, segments, recipient, accepted_ms, valid_ms, accepted_ms
  FROM unnest($1::text[], $2::text[], $3::int2[], $4::text[]::boolean[], $5::int2[], $6::text[], $7::int8[], $8::int8[])
    AS n (message_id, customer_id, shard, express, segments, recipient, accepted_ms, valid_ms)
  ORDER BY message_id
  ON CONFLICT (message_id) DO NOTHING`;

export const queueParameters = (rows: readonly QueueRow[]): Buffer[] => [
  textArray(rows, ({ message_id }) => message_id),
  textArray(rows, ({ customer_id }) => customer_id),
  int2Array(rows, ({ customer_id }) => shardOf(customer_id)),
  textArray(rows, ({ type }) => (type === 'express' ? 't' : 'f')),
  int2Array(rows, ({ segments }) => segments),
  textArray(rows, ({ to }) => to),
  int8Array(rows, ({ at }) => BigInt(at)),
  int8Array(rows, ({ valid_until }) => BigInt(valid_until)),
];

export const queueLoad: Load = {
  async load(transaction, { buffer, offsets, count }) {
    const rows: QueueRow[] = [];
    for (let i = 0; i < count; i += 1) rows.push(readRecord(buffer, offsets[i]!));
    await transaction.query(QUEUE_SQL, queueParameters(rows));
  },
  classify: (error) => (error instanceof BadRecord ? 'split' : undefined),
};

export default (() => () => queueLoad) satisfies MakeLoad;
