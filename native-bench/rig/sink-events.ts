/** Events for the benches of sinks: finished lines of a pixel, and batches as a sink gets them from the runner. */
import { randomBytes } from 'node:crypto';
import type { SinkBatch } from '../../src/delivery/contract.ts';
import { packRecords } from '../../src/events/record.ts';

export interface MadeEvent {
  readonly id: string;
  readonly tsMs: number;
  readonly line: string;
}

const startMs = Date.now();
let made = 0;

/** A realistic pixel event of about 470 bytes; ids grow with time (version 7), as the collector makes them. */
export function madeEvent(): MadeEvent {
  const random = randomBytes(16).toString('hex');
  made += 1;
  const tsMs = startMs + made;
  const ms = tsMs.toString(16).padStart(12, '0');
  const id = `${ms.slice(0, 8)}-${ms.slice(8)}-7${random.slice(0, 3)}-a${random.slice(3, 6)}-${random.slice(6, 18)}`;
  const line = JSON.stringify({
    event_id: id,
    ts: new Date(tsMs).toISOString(),
    e: 'pageview',
    uid: `u${made % 50_000}`,
    sid: random,
    url: `https://shop.example.com/products/${made % 5000}?variant=${made % 7}`,
    ref: 'https://www.search.example/results',
    ua: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36',
    ip: `203.0.113.${made % 250}`,
    utm: { source: 'newsletter', medium: 'email', campaign: `week-${made % 52}` },
    geo: {},
    props: { price: made % 1000, sku: `SKU-${made % 3000}` },
  });
  return { id, tsMs, line };
}

/** A batch of lines that follows `position` records. */
export function sinkBatch(lines: readonly Buffer[], position = 0): SinkBatch {
  const { buffer, offsets } = packRecords(lines.map((line) => ({ line, receivedMs: 0 })));
  const end = position + lines.length;
  return {
    lane: { life: 1, lane: 0 },
    count: lines.length,
    buffer,
    offsets,
    positions: new Float64Array(lines.length),
    from: { position, record: position },
    to: { position: end, record: end },
    commit: true,
  };
}
