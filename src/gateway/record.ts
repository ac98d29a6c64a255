/**
 * Request record: one request and its answer, as it lies in the journal until the output `logs` has counted it. A line
 * of JSON, so that `ringmain journal cat` shows it; what it lacks is null.
 *
 *   {"user":17,"key":"9fK2mQx07TbA","backend":3,"id":"...","method":"GET","path":"/...","status":200,"outcome":"hit",
 *    "ms":12,"in":0,"out":20480,"ip":"203.0.113.4","month":24298}
 *
 *   month  for which quota it counts: months since year 0; null: it counts for none (refused, or not served)
 */
import type { Draft } from '../events/draft.ts';
import { jsonLength, jsonStart, receivedMsAt } from '../events/record.ts';
import { commitText } from '../events/service-record.ts';
import { recordText } from './record-text.ts';

export const REQUEST_KIND = 32;

export interface RequestRecord {
  readonly userId: number | undefined;
  readonly keyId: string | undefined;
  readonly backendId: number | undefined;
  readonly requestId: string;
  readonly method: string;
  /** With the query, as the client sent it; the signature of a signed URL is left out. */
  readonly target: string;
  readonly status: number;
  readonly outcome: string;
  readonly durationMs: number;
  /** What the route was given of the request's body: 0 for one that nobody read, whatever its length announces. */
  readonly bytesIn: number;
  /** Bytes of the answer's body that went to the client. */
  readonly bytesOut: number;
  /** '' when the socket has none. */
  readonly address: string;
  /** Of its reservation; undefined: no quota counts it. */
  readonly month: number | undefined;
  /** Ms since 1970, when the request came. */
  readonly receivedMs: number;
}

/** Kafka's order matters to nobody here. */
const KEY = Buffer.from('request');

/** Commits the record to the draft; throws what begin() throws. */
export function encodeRequest(draft: Draft, record: RequestRecord): void {
  const { receivedMs } = record;
  commitText(draft, { kind: REQUEST_KIND, key: KEY, text: recordText(record), receivedMs });
}

interface Line {
  readonly user: number | null;
  readonly key: string | null;
  readonly backend: number | null;
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly outcome: string;
  readonly ms: number;
  readonly in: number;
  readonly out: number;
  readonly ip: string | null;
  readonly month: number | null;
}

/** Reads the record at `record` of a batch. */
export function decodeRequest(buffer: Buffer, record: number): RequestRecord {
  const from = jsonStart(record);
  const line = JSON.parse(buffer.toString('utf8', from, from + jsonLength(buffer, record))) as Line;
  return {
    userId: line.user ?? undefined,
    keyId: line.key ?? undefined,
    backendId: line.backend ?? undefined,
    requestId: line.id,
    method: line.method,
    target: line.path,
    status: line.status,
    outcome: line.outcome,
    durationMs: line.ms,
    bytesIn: line.in,
    bytesOut: line.out,
    address: line.ip ?? '',
    month: line.month ?? undefined,
    receivedMs: receivedMsAt(buffer, record),
  };
}
