/** Commands `ringmain journal ls | verify | cat`: they only read. */
import { setImmediate as turn } from 'node:timers/promises';
import { realDisk } from '../../engine/disk.ts';
import { markOf } from '../../engine/engine.ts';
import { lanesFolder, listSinks, readCheckpoint } from '../../engine/journal.ts';
import { walkLane } from '../../engine/journal-walk.ts';
import { laneName } from '../../engine/segment.ts';
import { SegmentStore } from '../../engine/segment-store.ts';
import { jsonLength, jsonStart } from '../../events/record.ts';
import { exitCodes } from '../../kernel/errors.ts';
import { Interrupt } from '../tool/interrupt.ts';
import { Progress } from '../tool/progress.ts';
import type { Subcommand } from '../tool/subcommand.ts';
import { bytesOf, type JournalTool, lanesOf, lookAgain, RANGE, rangeFlags, select, WALK_BYTES } from './journal.ts';

export const listHelp: Subcommand = {
  takes: '',
  summary: 'lists lanes, and the backlog of each sink',
  about: `Lists the lanes of the journal (one per acceptor and life of the process) with their positions in bytes and
their records, then each sink with its cursors, its ledger and the number of events it has yet to get.`,
  exits: { [exitCodes.ok]: 'listed' },
  example: 'ringmain journal ls --journal-dir=/var/lib/ringmain/journal',
};

export const verifyHelp: Subcommand = {
  takes: '',
  summary: 'reads every frame and reports damaged ones',
  about: `Reads every frame of the journal and checks it. A damaged place gets a line with its lane, positions and
records; the events behind it are found and counted all the same.`,
  exits: {
    [exitCodes.ok]: 'every frame is intact',
    [exitCodes.failed]: 'at least one is damaged',
    130: 'interrupted by Ctrl-C (143: by SIGTERM)',
  },
  example: 'ringmain journal verify',
};

export const catHelp: Subcommand = {
  takes: RANGE,
  summary: 'writes events to standard output as NDJSON',
  about: `Writes the events of a range to standard output, one JSON object per line, as the sinks get them. Without
a range: everything on disk, delivered events that JOURNAL_RETAIN_MS keeps included.`,
  flags: rangeFlags,
  exits: { [exitCodes.ok]: 'all events in the range are written', 141: 'the reader went away (`| head`)' },
  example: 'ringmain journal cat --since=2026-11-21T08:00:00Z --until=2026-11-21T09:00:00Z > events.ndjson',
};

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

export function list(tool: JournalTool): number {
  tool.takesNoWords();
  const log = tool.open();
  const { dir } = log;
  const lanes = lanesOf(log);
  const files = lookAgain(() => new SegmentStore(lanesFolder(dir), realDisk).files());
  print(`log ${log.id}`);
  for (const lane of lanes) {
    const mine = files.filter((file) => laneName(file.lane) === laneName(lane.id));
    const bytes = mine.reduce((sum, file) => sum + file.bytes, 0);
    print(
      `lane ${laneName(lane.id)}  positions ${lane.begin.position}..${lane.end.position}  ` +
        `records ${lane.begin.record}..${lane.end.record}  segments ${mine.length}  bytes ${bytes}`,
    );
  }
  for (const name of listSinks(dir)) {
    const state = readCheckpoint(dir, name);
    const owed = lanes.map((lane) =>
      Math.max(0, lane.end.record - Math.max(lane.begin.record, markOf(state, lane).record)),
    );
    print(`sink ${name}  life ${state?.life ?? 0}  owes ${owed.reduce((a, b) => a + b, 0)} events`);
    for (const [lane, position, record] of state?.lanes ?? [])
      print(`  cursor ${state?.life}-${lane}  position ${position}  record ${record}`);
    if (state !== undefined) {
      const { passed, delivered, dead, givenUp } = state.ledger;
      print(`  ledger  passed ${passed}  delivered ${delivered}  dead ${dead}  given up ${givenUp}`);
    }
  }
  return exitCodes.ok;
}

export async function verify(tool: JournalTool): Promise<number> {
  tool.takesNoWords();
  const log = tool.open();
  const lanes = lanesOf(log);
  const total = lanes.reduce((sum, { begin, end }) => sum + end.position - begin.position, 0);
  const progress = new Progress('verify', total, 'bytes');
  const interrupt = new Interrupt();
  let [damaged, events, before] = [0, 0, 0];
  for (const lane of lanes) {
    let records = 0;
    for (const batch of walkLane(log.dir, log.logId, lane, WALK_BYTES)) {
      records += batch.count;
      events += batch.count;
      for (const loss of batch.losses) {
        damaged += 1;
        progress.clear();
        print(
          `damaged  lane ${laneName(lane.id)}  positions ${loss.from.position}..${loss.to.position}  ` +
            `records ${loss.from.record}..${loss.to.record}  (${loss.reason})`,
        );
      }
      progress.at(before + batch.to.position - lane.begin.position, events);
      await turn(); // signals are heard between two turns
      if (interrupt.wanted) {
        progress.clear();
        const found = damaged === 0 ? 'no damage' : `${damaged} damaged places`;
        const place = `lane ${laneName(lane.id)}, position ${batch.to.position}`;
        process.stderr.write(`verify was interrupted at ${place}: ${found} up to there\n`);
        return interrupt.exit;
      }
    }
    before += lane.end.position - lane.begin.position;
    progress.clear();
    print(`lane ${laneName(lane.id)}  ${records} records read`);
  }
  return damaged === 0 ? exitCodes.ok : exitCodes.failed;
}

export async function cat(tool: JournalTool): Promise<number> {
  tool.takesNoWords();
  const range = tool.range(tool.open());
  // Where events go to the same terminal, a line between them would only disturb.
  const progress = process.stdout.isTTY ? undefined : new Progress('cat', bytesOf(range), 'bytes');
  let events = 0;
  for (const { batch, indices, bytesRead } of select(range)) {
    const lines = indices.map((i) => {
      const from = jsonStart(batch.offsets[i]!);
      return batch.buffer.subarray(from, from + jsonLength(batch.buffer, batch.offsets[i]!) + 1);
    });
    events += lines.length;
    // A pipe takes what it can: wait until it has taken all before the batch is used again.
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(Buffer.concat(lines), (error) => (error ? reject(error) : resolve()));
    });
    progress?.at(bytesRead, events);
  }
  progress?.clear();
  return exitCodes.ok;
}
