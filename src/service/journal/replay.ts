/**
 * Command `ringmain journal replay`: events of a range once more to one sink. It moves no cursor.
 *
 *   order    lane by lane, oldest life first, one request at a time: what was sent is all that lies before one place
 *   away     a request that fails for now is tried ATTEMPTS times; then the replay ends and says where to go on
 *   refused  a refused request is halved until the refused event stands alone; it is named and left out
 *   Ctrl-C   the request under way is waited for, GRACE_MS at most. One that has no answer by then is sent again by the
 *            replay that goes on
 */
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { SinkBatch, SinkKind, SinkTarget } from '../../delivery/contract.ts';
import type { Batch } from '../../engine/batch.ts';
import { laneName } from '../../engine/segment.ts';
import { nearest } from '../../kernel/config.ts';
import { errors, exitCodes } from '../../kernel/errors.ts';
import { createLog, logTarget } from '../../kernel/log.ts';
import { loadSink } from '../../sinks/registry.ts';
import { type ConfiguredOutput, possibleOutputs } from '../configured.ts';
import { serviceErrors } from '../errors.ts';
import { Interrupt } from '../tool/interrupt.ts';
import { Progress } from '../tool/progress.ts';
import type { Subcommand } from '../tool/subcommand.ts';
import { adviceOn, isFull, mustBeConfigured, placeOf } from '../tool/target.ts';
import { bytesOf, type JournalTool, type Log, RANGE, rangeFlags, select } from './journal.ts';

export const replayHelp: Subcommand = {
  takes: `--sink=NAME ${RANGE}`,
  summary: 'sends events to one sink again',
  about: `Sends the events of a range to one sink once more; a running collector is not disturbed, and no cursor
moves. A sink that recognises an event by its id keeps one copy of it, any other gets a second one. A
replay that stops early says how many events it has sent, and the --resume that continues it.`,
  flags: {
    sink: { value: 'NAME', text: 'the sink, as OUTPUTS calls it' },
    file: {
      value: 'PATH',
      text: 'for --sink=log: a new file; with --resume, the file of the earlier replay',
    },
    resume: { value: 'LIFE-LANE:POSITION', text: 'continues where an earlier replay stopped; it prints this flag' },
    ...rangeFlags,
  },
  exits: {
    [exitCodes.ok]: 'all events in the range were sent',
    [exitCodes.failed]:
      'the range contains no event, or the sink rejected events or needs an operator (credentials, a missing table)',
    [exitCodes.temporary]: 'the sink is down, or a disk is full; continue later',
    130: 'interrupted by Ctrl-C (143: by SIGTERM)',
  },
  example: 'ringmain journal replay --sink=kafka --since=2026-11-21T08:00:00Z --until=2026-11-21T09:00:00Z',
};

/** A request that fails for now is sent so often, with so long a pause. */
const ATTEMPTS = 4;
const ATTEMPT_MS = 500;
/** What is under way when the end is asked for has so long. */
const GRACE_MS = 1000;
const REFUSALS_SHOWN = 10;

/** The end was asked for, and the request under way has no answer. */
class Interrupted extends Error {}

export async function replay(tool: JournalTool): Promise<number> {
  tool.takesNoWords();
  const { output, config } = outputOf(tool);
  const log = tool.open();
  const range = tool.range(log);
  const interrupt = new Interrupt();
  const sender = new Sender(tool, { output, config, kind: await loadSink(output.kind), log, interrupt });
  const progress = new Progress(`replay to ${output.name}`, bytesOf(range), 'bytes');
  // Where to go on when nothing is sent.
  let place = range.parts[0] && `${laneName(range.parts[0].lane.id)}:${range.parts[0].from}`;
  try {
    await sender.open();
    for (const { batch, indices, lane, bytesRead } of select(range)) {
      for (let at = 0; at < indices.length; at += sender.records) {
        place = `${laneName(lane.id)}:${batch.positions[indices[at]!]}`;
        if (interrupt.wanted) throw new Interrupted();
        const refused = await sender.send(batch, indices.slice(at, at + sender.records));
        for (const line of refused) {
          progress.clear();
          process.stderr.write(`${line}\n`);
        }
        progress.at(bytesRead, sender.sent);
      }
      place = `${laneName(lane.id)}:${batch.to.position}`;
    }
    await sender.settle();
  } catch (error) {
    progress.clear();
    const settled = await sender.settle().then(
      () => true,
      () => false,
    );
    return endedEarly(error, { sender, output, place: place ?? '', interrupt, settled });
  } finally {
    progress.clear();
    await sender.close();
  }
  const { sent, refused } = sender;
  process.stderr.write(`${countOf(sent)} sent to ${output.name}${refused > 0 ? `, ${refused} rejected` : ''}\n`);
  // A range that holds nothing was mistyped more often than meant.
  if (sent + refused === 0) return exitCodes.failed;
  return refused > 0 ? exitCodes.failed : exitCodes.ok;
}

interface Early {
  readonly sender: Sender;
  readonly output: ConfiguredOutput;
  readonly place: string;
  readonly interrupt: Interrupt;
  readonly settled: boolean;
}

function endedEarly(error: unknown, { sender, output, place, interrupt }: Early): number {
  const { sent } = sender;
  const resume = `--resume=${place}`;
  if (error instanceof Interrupted) {
    process.stderr.write(`the replay was interrupted after ${countOf(sent)}; continue with ${resume}\n`);
    return interrupt.exit;
  }
  const verdict = sender.verdictOn(error);
  if (verdict === undefined) throw error;
  const temporary = verdict === 'retry';
  const stopped = temporary ? serviceErrors.JOURNAL_REPLAY_ENDED : serviceErrors.JOURNAL_REPLAY_STOPPED;
  const reason = String((error as Error).message);
  const at = placeOf({ ...output, config: sender.config });
  throw stopped({ sink: output.name, at, reason, advice: adviceOn(error, temporary), sent, resume });
}

const countOf = (events: number): string => `${events} ${events === 1 ? 'event' : 'events'}`;

type Config = Readonly<Record<string, unknown>>;

/** The output that --sink names, and its options for a replay. */
function outputOf({ configured, flags }: JournalTool): { readonly output: ConfiguredOutput; readonly config: Config } {
  const all = possibleOutputs(configured);
  const outputs = all.filter(({ counts }) => !counts);
  const [wanted, file] = [flags.get('sink'), flags.get('file')];
  const output = outputs.find(({ name }) => name === wanted);
  if (all.some(({ name, counts }) => counts && name === wanted))
    throw errors.USAGE({
      reason: `--sink must be an output that may get an event twice; this one would count it again: found=${wanted}`,
    });
  if (output === undefined) {
    const names = outputs.map(({ name }) => name);
    const near = wanted === undefined ? undefined : nearest(wanted, names);
    const meant = near === undefined ? '' : `, did you mean ${near}?`;
    throw errors.USAGE({ reason: `--sink must be one of ${names.join(', ')}: found=${wanted ?? 'none'}${meant}` });
  }
  mustBeConfigured(output, configured);
  if (output.kind !== 'log') {
    if (file !== undefined) throw errors.USAGE({ reason: `--file belongs to --sink=log: found --sink=${wanted}` });
    return { output, config: output.config };
  }
  if (file === undefined || (existsSync(file) && flags.get('resume') === undefined))
    throw errors.USAGE({ reason: `--file must name a new file for the events: found=${file ?? 'none'}` });
  return { output, config: { ...output.config, logPath: file, logRotateBytes: 0 } };
}

interface SenderParts {
  readonly output: ConfiguredOutput;
  readonly config: Config;
  readonly kind: SinkKind<never>;
  readonly log: Log;
  readonly interrupt: Interrupt;
}

/** Sends records to the target, one request at a time. */
class Sender {
  readonly config: Config;
  /** Records of a request at most. */
  readonly records: number;
  sent = 0;
  refused = 0;
  readonly #tool: JournalTool;
  readonly #parts: SenderParts;
  readonly #end = new AbortController();
  #target: SinkTarget | undefined;

  constructor(tool: JournalTool, parts: SenderParts) {
    this.#tool = tool;
    this.#parts = parts;
    this.config = parts.config;
    this.records = parts.kind.batching(parts.config as never).records;
    parts.interrupt.signal.addEventListener('abort', () => {
      setTimeout(() => this.#end.abort(), GRACE_MS).unref();
    });
  }

  async open(): Promise<void> {
    const { output, config, kind, log } = this.#parts;
    const { values } = this.#tool.configured;
    const context = {
      name: output.name,
      logId: log.id,
      ...(output.load === undefined ? {} : { load: { module: output.load, values } }),
      journal: false,
      state: undefined,
      log: createLog({ ...logTarget(values.kernel, 2), level: 'warn', name: 'journal' }),
      signal: this.#end.signal,
      ended: () => this.#end.signal.aborted,
    };
    this.#target = await this.#patiently(() => kind.open(config as never, context));
  }

  /** Sends these records of a batch; returns a line for each that was refused, as long as there are few. */
  async send(batch: Batch, indices: readonly number[]): Promise<readonly string[]> {
    try {
      await this.#patiently(() => this.#target!.write(part(batch, indices), Promise.resolve()));
      this.sent += indices.length;
      return [];
    } catch (error) {
      if (error instanceof Interrupted || this.verdictOn(error) !== 'split') throw error;
      if (indices.length === 1) return this.#refuse(batch, indices[0]!, error);
      const half = indices.length >>> 1;
      return [...(await this.send(batch, indices.slice(0, half))), ...(await this.send(batch, indices.slice(half)))];
    }
  }

  #refuse(batch: Batch, index: number, error: unknown): readonly string[] {
    this.refused += 1;
    if (this.refused > REFUSALS_SHOWN) return [];
    const more = this.refused === REFUSALS_SHOWN ? '; further ones are only counted' : '';
    const at = `${laneName(batch.lane)}:${batch.positions[index]}`;
    return [`the event at ${at} was rejected: ${(error as Error).message}${more}`];
  }

  /** What the sink says of an error; undefined: it is not about the target. */
  verdictOn(error: unknown): 'retry' | 'split' | 'stop' | undefined {
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    const { kind, output } = this.#parts;
    // The file sink waits for a path to become usable. Here somebody waits for an answer; only a full disk passes.
    return output.kind === 'log' && !isFull(error) ? 'stop' : kind.classify(error);
  }

  async #patiently<T>(call: () => Promise<T>): Promise<T> {
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await this.#unlessEnded(call());
      } catch (error) {
        if (error instanceof Interrupted || this.verdictOn(error) !== 'retry' || attempts === ATTEMPTS) throw error;
        if (this.#parts.interrupt.wanted) throw new Interrupted();
        await delay(ATTEMPT_MS, undefined, { signal: this.#parts.interrupt.signal }).catch(() => {
          throw new Interrupted();
        });
      }
    }
  }

  async #unlessEnded<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#end;
    const ended = Promise.withResolvers<never>();
    const end = () => ended.reject(new Interrupted());
    signal.addEventListener('abort', end, { once: true });
    // When the end wins, the work fails on its own; nobody waits for it any more.
    work.catch(() => {});
    try {
      return await Promise.race([work, ended.promise]);
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  /** Makes what is sent durable. */
  async settle(): Promise<void> {
    const target = this.#target;
    if (target?.settle !== undefined) await this.#unlessEnded(target.settle(true));
  }

  async close(): Promise<void> {
    await this.#target?.close();
  }
}

function part(batch: Batch, indices: readonly number[]): SinkBatch {
  return {
    lane: batch.lane,
    count: indices.length,
    buffer: batch.buffer,
    offsets: Int32Array.from(indices, (i) => batch.offsets[i]!),
    positions: Float64Array.from(indices, (i) => batch.positions[i]!),
    from: batch.from,
    to: batch.to,
    commit: false,
  };
}
