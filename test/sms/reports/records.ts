/** Records as the relay publishes them, and their way into ClickHouse without it. */
import assert from 'node:assert/strict';
import type { AcceptedRecord, StatusRecord } from '../../../src/sms/topics.ts';

export const DAY = Date.UTC(2026, 10, 28);
export const MINUTE = 60_000;

export const accepted = (id: number, at: number, more: Partial<AcceptedRecord> = {}): AcceptedRecord => ({
  message_id: `M${String(id).padStart(25, '0')}`,
  customer_id: 'ada',
  type: 'normal',
  segments: 1,
  cost: 3,
  at,
  ...more,
});

export const became = (
  of: AcceptedRecord,
  status: StatusRecord['status'],
  at: number,
  more: Partial<StatusRecord> = {},
): StatusRecord => ({
  ...of,
  status,
  operator: 'mci',
  reason: null,
  attempts: 1,
  resends: 0,
  accepted_at: of.at,
  at,
  ...more,
});

/** As the output `reports` posts them. */
export async function insert(url: string, records: readonly object[]): Promise<void> {
  const { origin, username, password } = new URL(url);
  const search = new URLSearchParams({
    database: 'sms',
    query: 'INSERT INTO sms_raw FORMAT JSONEachRow',
    input_format_skip_unknown_fields: '1',
    input_format_null_as_default: '1',
  });
  const answer = await fetch(`${origin}/?${search}`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` },
    body: records.map((record) => `${JSON.stringify({ event_id: 'passed over', ...record })}\n`).join(''),
  });
  assert.equal(answer.status, 200, await answer.text());
}
