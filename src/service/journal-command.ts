/**
 * Command `ringmain journal`: looks into a log and sends parts of it again.
 *
 *   ls                          lanes, and what each sink owes
 *   verify                      reads every frame; exit 1 when one is damaged
 *   cat     [range]             events as NDJSON on standard output
 *   replay  [range] --sink=NAME events of a range once more to one sink; the log sink needs --file=PATH of its own
 *   forget  NAME                a sink that will not come back: it holds no segments any more
 *   drain   [--timeout=SECONDS] delivers what is left without taking in, for a collector that goes away for good
 *
 *   range   --lane=LIFE-LANE  --from=POSITION --to=POSITION  --since=TIME --until=TIME (RFC 3339, time of receipt)
 *
 * ls, verify, cat and replay only read and work beside a running collector; forget and drain need it stopped.
 */
import { existsSync, rmSync } from 'node:fs';
import type { SinkBatch, SinkTarget } from '../delivery/contract.ts';
import { sinkMetrics } from '../delivery/metrics.ts';
import type { Batch } from '../engine/batch.ts';
import { realDisk } from '../engine/disk.ts';
import { markOf, openEngine } from '../engine/engine.ts';
import { engineErrors } from '../engine/errors.ts';
import {
  checkpointPath,
  lanesFolder,
  listSinks,
  lockJournal,
  readCheckpoint,
  readIdentity,
} from '../engine/journal.ts';
import { walkLane } from '../engine/journal-walk.ts';
import type { FinishedLane } from '../engine/lane-reader.ts';
import { recoverLanes } from '../engine/recovery.ts';
import { laneName } from '../engine/segment.ts';
import { SegmentStore } from '../engine/segment-store.ts';
import { SinkBoard } from '../engine/sink-board.ts';
import { jsonLength, jsonStart, receivedMsAt } from '../events/record.ts';
import { errors, exitCodes } from '../kernel/errors.ts';
import { createLog, logTarget } from '../kernel/log.ts';
import { createBoard, loopMetrics } from '../kernel/metrics.ts';
import { FIRST_OUTPUT_SEAT } from '../kernel/threads/roster.ts';
import { Supervisor } from '../kernel/threads/supervisor.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import { loadSink } from '../sinks/registry.ts';
import { type Configured, configure, laneOutputs, possibleOutputs } from './configured.ts';
import type { AnyService } from './contract.ts';
import { serviceErrors } from './errors.ts';
import { lockLogFiles } from './log-files.ts';
import type { OutputThreadData } from './output-thread.ts';

const USAGE = `ringmain journal ls                          lanes, and what each sink owes
ringmain journal verify                      reads every frame; exit 1 when one is damaged
ringmain journal cat    [range]              events as NDJSON on standard output
ringmain journal replay [range] --sink=NAME  events once more to one sink (log: with --file=PATH)
ringmain journal forget NAME                 a sink that will not come back
ringmain journal drain  [--timeout=SECONDS]  delivers what is left without taking in

range: --lane=LIFE-LANE --from=POSITION --to=POSITION --since=TIME --until=TIME (RFC 3339, time of receipt)
JOURNAL_DIR and the options of the sinks are those of the service: --service=NAME, pixel without it.
`;

/** Bytes read at once; a frame that is larger is reported, not read. */
const WALK_BYTES = 32 * 2 ** 20;
const flagNames = ['lane', 'from', 'to', 'since', 'until', 'sink', 'file', 'timeout'] as const;
type Flags = Partial<Record<(typeof flagNames)[number], string>>;

interface Tool {
  readonly dir: string;
  readonly logId: Buffer;
  readonly log: string;
  readonly words: readonly string[];
  readonly flags: Flags;
  readonly configured: Configured;
}

export async function runJournal(service: AnyService, argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  if (command === undefined || command === '--help' || rest.includes('--help')) {
    process.stdout.write(USAGE);
    return command === undefined ? exitCodes.usage : exitCodes.ok;
  }
  const tool = open(service, rest);
  switch (command) {
    case 'ls':
      return list(tool);
    case 'verify':
      return verify(tool);
    case 'cat':
      return cat(tool);
    case 'replay':
      return replay(tool);
    case 'forget':
      return forget(tool);
    case 'drain':
      return drain(tool);
    default:
      throw errors.USAGE({ reason: `the command must be ls, verify, cat, replay, forget or drain: found=${command}` });
  }
}

function open(service: AnyService, argv: readonly string[]): Tool {
  const flags: Flags = {};
  const others: string[] = [];
  for (const word of argv) {
    const match = /^--([a-z]+)=(.*)$/.exec(word);
    const name = flagNames.find((flag) => flag === match?.[1]);
    if (name !== undefined) flags[name] = match?.[2] ?? '';
    else others.push(word);
  }
  const configured = configure(service, Object.keys(service.roles), { argv: others });
  const dir = configured.values.engine.journalDir;
  const identity = dir === 'off' ? undefined : readIdentity(dir);
  if (identity === undefined) throw engineErrors.JOURNAL_OPEN({ path: dir, reason: 'there is no log in this folder' });
  const { log } = identity;
  return { dir, logId: Buffer.from(log, 'hex'), log, words: configured.loaded.words, flags, configured };
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function list({ dir, logId, log }: Tool): number {
  const lanes = recoverLanes(dir, logId);
  const files = new SegmentStore(lanesFolder(dir), realDisk).files();
  print(`log ${log}`);
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

function verify({ dir, logId }: Tool): number {
  let damaged = 0;
  for (const lane of recoverLanes(dir, logId)) {
    let records = 0;
    for (const batch of walkLane(dir, logId, lane, WALK_BYTES)) {
      records += batch.count;
      for (const loss of batch.losses) {
        damaged += 1;
        print(
          `damaged  lane ${laneName(lane.id)}  positions ${loss.from.position}..${loss.to.position}  ` +
            `records ${loss.from.record}..${loss.to.record}  (${loss.reason})`,
        );
      }
    }
    print(`lane ${laneName(lane.id)}  ${records} records read`);
  }
  return damaged === 0 ? exitCodes.ok : 1;
}

function number(flags: Flags, name: 'from' | 'to' | 'timeout'): number | undefined {
  const text = flags[name];
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw errors.USAGE({ reason: `--${name} must be a whole number: found=${text}` });
  return Number(text);
}

function time(flags: Flags, name: 'since' | 'until'): number | undefined {
  const text = flags[name];
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw errors.USAGE({ reason: `--${name} must be a time like 2026-11-21T08:00:00Z: found=${text}` });
  return ms;
}

/** The batches of the range, each with the indices of the records that lie in it. */
function* selected(tool: Tool): Generator<{ batch: Batch; indices: readonly number[]; lane: FinishedLane }> {
  const { flags, dir, logId } = tool;
  const from = number(flags, 'from');
  const to = number(flags, 'to');
  const since = time(flags, 'since') ?? Number.NEGATIVE_INFINITY;
  const until = time(flags, 'until') ?? Number.POSITIVE_INFINITY;
  if ((from !== undefined || to !== undefined) && flags.lane === undefined)
    throw errors.USAGE({ reason: 'positions belong to a lane: --lane=LIFE-LANE must come with --from and --to' });
  const lanes = recoverLanes(dir, logId).filter((lane) => flags.lane === undefined || laneName(lane.id) === flags.lane);
  if (lanes.length === 0) throw errors.USAGE({ reason: `no such lane on disk: --lane=${flags.lane}` });
  const range = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
  for (const lane of lanes) {
    for (const batch of walkLane(dir, logId, lane, WALK_BYTES, range)) {
      const indices: number[] = [];
      for (let i = 0; i < batch.count; i++) {
        const position = batch.positions[i];
        const ms = receivedMsAt(batch.buffer, batch.offsets[i]);
        if (position >= (from ?? 0) && position < (to ?? Number.POSITIVE_INFINITY) && ms >= since && ms < until)
          indices.push(i);
      }
      if (indices.length > 0) yield { batch, indices, lane };
    }
  }
}

async function cat(tool: Tool): Promise<number> {
  for (const { batch, indices } of selected(tool)) {
    const lines = indices.map((i) => {
      const from = jsonStart(batch.offsets[i]);
      return batch.buffer.subarray(from, from + jsonLength(batch.buffer, batch.offsets[i]) + 1);
    });
    // A pipe takes what it can: wait until it has taken all before the batch is used again.
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(Buffer.concat(lines), (error) => (error ? reject(error) : resolve()));
    });
  }
  return exitCodes.ok;
}

async function replay(tool: Tool): Promise<number> {
  const { flags } = tool;
  const outputs = possibleOutputs(tool.configured);
  const output = outputs.find(({ name }) => name === flags.sink);
  if (output === undefined) {
    const names = outputs.map(({ name }) => name).join(', ');
    throw errors.USAGE({ reason: `--sink must be one of ${names}: found=${flags.sink}` });
  }
  const { name } = output;
  const kind = await loadSink(output.kind);
  let config: unknown = output.config;
  if (output.kind === 'log') {
    if (flags.file === undefined || existsSync(flags.file))
      throw errors.USAGE({ reason: `--file must name a new file for the events: found=${flags.file}` });
    config = { ...(config as object), logPath: flags.file, logRotateBytes: 0 };
  }
  const log = createLog({ ...logTarget(tool.configured.values.kernel, 2), level: 'warn', name: 'journal' });
  const abort = new AbortController();
  const target = await kind.open(config as never, {
    name,
    logId: tool.log,
    journal: false,
    state: undefined,
    log,
    signal: abort.signal,
    ended: () => false,
  });
  let sent = 0;
  try {
    for (const { batch, indices } of selected(tool)) {
      const { records } = kind.batching(config as never);
      for (let at = 0; at < indices.length; at += records)
        sent += await send(target, batch, indices.slice(at, at + records));
    }
    await target.settle?.();
  } finally {
    await target.close();
  }
  process.stderr.write(`${sent} events sent to ${name}\n`);
  return exitCodes.ok;
}

async function send(target: SinkTarget, batch: Batch, indices: readonly number[]): Promise<number> {
  const part: SinkBatch = {
    lane: batch.lane,
    count: indices.length,
    buffer: batch.buffer,
    offsets: Int32Array.from(indices, (i) => batch.offsets[i]),
    positions: Float64Array.from(indices, (i) => batch.positions[i]),
    from: batch.from,
    to: batch.to,
    commit: false,
  };
  await target.write(part, Promise.resolve());
  return indices.length;
}

function forget({ dir, words }: Tool): number {
  const [name] = words;
  const known = listSinks(dir);
  if (name === undefined || !known.includes(name))
    throw errors.USAGE({ reason: `forget must name a sink of this log: found=${name}, sinks=${known.join(', ')}` });
  const lock = lockJournal(dir);
  try {
    rmSync(checkpointPath(dir, name));
  } finally {
    lock.release();
  }
  print(`${name} is forgotten; if it is started again on this log, SINK_START says where`);
  return exitCodes.ok;
}

async function drain({ flags, configured }: Tool): Promise<number> {
  const { values } = configured;
  const { sinks, engine: engineValues, kernel } = values;
  const outputs = laneOutputs(configured.outputs);
  const log = createLog({ ...logTarget(kernel, 2), name: 'journal' });
  // A collector that runs may have the file: its writer is one.
  lockLogFiles(outputs, engineValues.journalDir).release();
  const engine = openEngine({
    config: engineValues,
    lanes: 0,
    sinks: outputs.map(({ name }) => ({ name, drops: false, lagBytesMax: 0 })),
    keep: [],
    start: sinks.sinkStart,
  });
  const { shared } = engine;
  const metrics = createBoard([sinkMetrics(shared.sinks), loopMetrics], shared.sinks.length);
  const supervisor = new Supervisor(log, () => undefined);
  const names = outputs.map((output, index) => {
    const data: OutputThreadData = {
      output,
      index,
      outputs: shared.sinks,
      values,
      engine: shared,
      live: false,
      patient: true,
      deadLetterDir: sinks.deadLetterDir,
      recordBytesMax: WALK_BYTES / 2,
      lagBytesMax: 0,
      metrics,
      slot: index,
      log: logTarget(kernel, 2),
    };
    const file = new URL(`./output-thread${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
    supervisor.spawn({ name: `sink-${output.name}`, file, data, onDeath: 'restart' });
    return `sink-${output.name}`;
  });
  const board = new SinkBoard(shared.board);
  // A thread that has delivered everything ends by itself: that is no death.
  supervisor.stop();
  const late = await supervisor.join(names, (number(flags, 'timeout') ?? 2 ** 31 / 1000 - 1) * 1000);
  if (late.length > 0) {
    const wake = new WakeWords(shared.wake);
    shared.sinks.forEach((_, i) => {
      board.setPhase(i, 'stop');
      wake.wake(FIRST_OUTPUT_SEAT + i);
    });
    await supervisor.join(names, 5000);
  }
  // A thread that never got to its runner has told no figures: that it owes nothing would be a guess.
  const unstarted = names.find((_, i) => board.state(i) === 'starting');
  if (unstarted !== undefined) {
    engine.release();
    throw serviceErrors.THREAD_DIED({ thread: unstarted, reason: 'it ended before it could deliver' });
  }
  let owed = 0;
  shared.sinks.forEach((name, i) => {
    const events = board.get(i, 'lagRecords');
    owed += events;
    print(`sink ${name}  delivered ${board.get(i, 'delivered')}  owes ${events} events`);
  });
  engine.release();
  return owed === 0 ? exitCodes.ok : 1;
}
