/**
 * Sizing: disk, memory and cores from rate, size and the longest outage to be bridged. `node deploy/sizing.ts` renews the table in README.md;
 * a test holds the table to this, and the bytes per event to a live collector.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FRAME_HEADER } from '../src/engine/frame.ts';
import { at } from '../src/events/record.ts';
import { markdownTable, renewPart } from '../src/kernel/markdown.ts';

const GB = 1e9;
const MB = 1e6;
/** CPU of one event by GET /px.gif, all threads, in the log and in one sink; a round figure above those of PERFORMANCE.md. */
const CPU_US = 15;
/** A core is planned to be this busy at the peak. */
const BUSY = 0.6;
/** Node, its threads and the sinks' buffers, without rings. */
const BASE_MB = 140;
const RING_MB = 16.8;

/** Bytes of the journal for one event; `line` is its JSON line without newline. Worst case: each event is a frame of its own. */
export function journalBytes(line: number, perFrame = 1): number {
  return Math.ceil((at.json + line + 1) / 8) * 8 + FRAME_HEADER / perFrame;
}

interface Load {
  readonly perSecond: number;
  readonly line: number;
  readonly hours: number;
}
const loads: readonly Load[] = [
  { perSecond: 100, line: 500, hours: 24 },
  { perSecond: 1000, line: 500, hours: 24 },
  { perSecond: 5000, line: 500, hours: 12 },
  { perSecond: 5000, line: 2000, hours: 12 },
  { perSecond: 20_000, line: 500, hours: 6 },
  { perSecond: 50_000, line: 500, hours: 4 },
  { perSecond: 100_000, line: 500, hours: 2 },
];

/** The table, in Markdown. */
export function sizingTable(): string {
  const rows = loads.map(({ perSecond, line, hours }) => {
    const acceptors = Math.max(1, Math.ceil((perSecond * CPU_US) / 1e6 / BUSY));
    const bytesPerSecond = perSecond * journalBytes(line);
    // A fifth for spare segments and for noticing late.
    const disk = bytesPerSecond * hours * 3600 * 1.2;
    const memory = BASE_MB + acceptors * (RING_MB + 30);
    return [
      perSecond.toLocaleString('en'),
      `${line} B`,
      `${hours} h`,
      disk >= 100 * GB ? `${Math.round(disk / GB)} GB` : `${(disk / GB).toFixed(1)} GB`,
      `${(bytesPerSecond / MB).toFixed(1)} MB/s`,
      `${Math.round(memory / 10) * 10} MB`,
      `${acceptors} + 1`,
    ];
  });
  const head = [
    'events/s at the peak',
    'JSON line',
    'longest outage',
    'JOURNAL_MAX_BYTES',
    'journal writes',
    'RAM',
    'cores: acceptors + sinks',
  ];
  return markdownTable(head, rows);
}

export const sizingReadme: string = join(import.meta.dirname, 'README.md');

if (process.argv[1] === import.meta.filename) {
  writeFileSync(sizingReadme, renewPart(readFileSync(sizingReadme, 'utf8'), 'sizing', sizingTable()));
}
