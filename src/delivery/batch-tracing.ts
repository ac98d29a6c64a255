/**
 * Batch tracing, each write of a batch that holds events of traced requests is a span, linked to those requests.
 * A batch serves many requests, so none of them is its parent. It wraps the target of an output; without tracing there
 * is no wrapper.
 */

import type { LaneId } from '../engine/segment.ts';
import { traceOf } from '../events/record.ts';
import { beginSpan, newTrace, SPAN_ID_BYTES, type SpanData, TRACE_ID_BYTES } from '../kernel/tracing.ts';
import type { SinkBatch, SinkTarget } from './contract.ts';

/** Links of one span at most: the default limit of OpenTelemetry. */
const LINKS_MAX = 128;

/** The target, its writes traced. `report` gets a span per try, failed ones included. */
export function tracedTarget(target: SinkTarget, sink: string, report: (span: SpanData) => void): SinkTarget {
  const write = async (batch: SinkBatch, previous: Promise<void>): Promise<void> => {
    const links = linksOf(batch);
    if (links.length === 0) return target.write(batch, previous);
    const { count } = batch;
    const { startMs, endMs } = beginSpan();
    let failed = true;
    try {
      await target.write(batch, previous);
      failed = false;
    } finally {
      const attributes = { 'ringmain.sink': sink, 'messaging.batch.message_count': count };
      const name = `deliver ${sink}`;
      report({ name, kind: 'producer', context: newTrace(), startMs, endMs: endMs(), failed, attributes, links });
    }
  };
  // The runner asks whether a target has the optional ones.
  return {
    get inFlightMax() {
      return target.inFlightMax;
    },
    get settleDue() {
      return target.settleDue ?? false;
    },
    write,
    ...(target.settle && { settle: (last?: boolean) => target.settle!(last) }),
    ...(target.probe && { probe: () => target.probe!() }),
    ...(target.look && { look: () => target.look!() }),
    ...(target.settled && { settled: () => target.settled!() }),
    ...(target.cursors && { cursors: (lanes?: readonly LaneId[]) => target.cursors!(lanes) }),
    ...(target.reopen && { reopen: () => target.reopen!() }),
    close: () => target.close(),
  };
}

/** The traced requests that the events of a batch came by, each once. */
function linksOf({ buffer, offsets, count }: SinkBatch): SpanData['links'] {
  const found = new Map<string, SpanData['links'][number]>();
  for (let i = 0; i < count && found.size < LINKS_MAX; i += 1) {
    const ids = traceOf(buffer, offsets[i]!);
    if (ids === undefined) continue;
    const [traceId, spanId] = [
      ids.toString('hex', 0, TRACE_ID_BYTES),
      ids.toString('hex', TRACE_ID_BYTES, TRACE_ID_BYTES + SPAN_ID_BYTES),
    ];
    found.set(spanId, { traceId, spanId });
  }
  return [...found.values()];
}
