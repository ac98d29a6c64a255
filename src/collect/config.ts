/** Collect config: what a 2xx of the intake routes promises, and how large an event may be. */
import type { AckLevel } from '../engine/acknowledger.ts';
import { bytes, type ConfigOf, defineConfig, KiB, MiB, oneOf } from '../kernel/config.ts';

const levels = ['memory', 'journal', 'sync'] as const satisfies readonly AckLevel[];

export const collectConfig = defineConfig(
  'collect',
  {
    ack: oneOf(levels, {
      default: 'journal',
      doc:
        'What a 2xx promises. memory: the event is in memory. journal: it is written and survives a crash of the ' +
        'process. sync: it is on disk and survives a power failure.',
    }),
    ackPixel: oneOf(levels, { doc: 'ACK for GET /px.gif only.', unset: 'same as ACK' }),
    ackCollect: oneOf(levels, { doc: 'ACK for POST /collect only.', unset: 'same as ACK' }),
    maxEventBytes: bytes({
      default: 64 * KiB,
      min: 1 * KiB,
      max: 16 * MiB,
      doc:
        'Maximum size of the encoded event (its JSON line). A larger event gets 413 and not 429, because sending ' +
        'it again cannot help.',
    }),
  },
  {
    check: (values, all) => {
      const problems: string[] = [];
      const memoryOnly = all['engine']?.['journalDir'] === 'off';
      for (const [name, level] of [
        ['ACK', values.ack],
        ['ACK_PIXEL', values.ackPixel],
        ['ACK_COLLECT', values.ackCollect],
      ] as const) {
        if (!memoryOnly || level === undefined || level === 'memory') continue;
        // The default is refused like an option: it would promise what cannot hold.
        problems.push(`${name} must be memory when JOURNAL_DIR=off: found=${level}`);
      }
      const { ringBytes = Number.POSITIVE_INFINITY } = (all['engine'] ?? {}) as { ringBytes?: number };
      const { maxBodyBytes = 0 } = (all['http'] ?? {}) as { maxBodyBytes?: number };
      // One publish may take a quarter of the ring: a body must fit it, and so must the largest event beside others.
      const least = Math.max(4 * maxBodyBytes, 8 * values.maxEventBytes);
      if (ringBytes < least) {
        problems.push(
          `RING_BYTES must be at least 4 x MAX_BODY_BYTES and 8 x MAX_EVENT_BYTES: found=${ringBytes}, needed=${least}`,
        );
      }
      return problems;
    },
  },
);
export type CollectConfig = ConfigOf<typeof collectConfig>;
