/**
 * Command `ringmain journal drain`: delivers what the log owes without taking anything in, by the threads that a
 * collector runs. Ctrl-C, TERM and --timeout end it in order: cursors are written, and the next drain continues there.
 */
import { sinkMetrics } from '../../delivery/metrics.ts';
import { type Engine, markOf, openEngine } from '../../engine/engine.ts';
import { listLanes, readCheckpoint } from '../../engine/journal.ts';
import { SinkBoard } from '../../engine/sink-board.ts';
import { exitCodes } from '../../kernel/errors.ts';
import { createLog, logTarget } from '../../kernel/log.ts';
import { createBoard, loopMetrics } from '../../kernel/metrics.ts';
import { FIRST_OUTPUT_SEAT } from '../../kernel/threads/roster.ts';
import { Supervisor } from '../../kernel/threads/supervisor.ts';
import { WakeWords } from '../../kernel/threads/wake.ts';
import { laneOutputs } from '../configured.ts';
import { serviceErrors } from '../errors.ts';
import { lockLogFiles } from '../log-files.ts';
import type { OutputThreadData } from '../output-thread.ts';
import { sibling } from '../sibling.ts';
import { Interrupt } from '../tool/interrupt.ts';
import { Progress } from '../tool/progress.ts';
import type { Subcommand } from '../tool/subcommand.ts';
import { type JournalTool, WALK_BYTES } from './journal.ts';

export const drainHelp: Subcommand = {
  takes: '[--timeout=SECONDS]',
  summary: 'delivers the backlog without accepting new events',
  about: `Delivers what the journal still owes to the sinks in OUTPUTS, for a collector that goes away for good. It
takes nothing in, and keeps trying a sink that is away. Each sink gets a line with what this run
delivered. The collector must be stopped.`,
  flags: {
    timeout: {
      value: 'SECONDS',
      text: 'gives up after this many seconds; default: keeps trying until everything is delivered',
    },
  },
  exits: {
    [exitCodes.ok]: 'everything is delivered, or there is no journal and nothing to deliver',
    [exitCodes.failed]: 'events are still undelivered; run it again once the sinks are up',
    [exitCodes.internal]: 'a thread ended before it could deliver',
    [exitCodes.temporary]: 'a collector is running on this journal or log file',
    130: 'interrupted by Ctrl-C (143: by SIGTERM); the next drain continues',
  },
  example: 'ringmain journal drain --timeout=600',
};

/** No timer of Node's is longer. */
const TIMEOUT_S_MAX = 2_000_000;
const STOP_MS = 5000;
const LOOK_MS = 200;

export async function drain(tool: JournalTool): Promise<number> {
  tool.takesNoWords();
  const timeoutMs = Math.min(tool.count('timeout') ?? TIMEOUT_S_MAX, TIMEOUT_S_MAX) * 1000;
  // Lanes without their log are a log that was put back in parts: openEngine() refuses it.
  if (tool.find() === undefined && (tool.dir === 'off' || listLanes(tool.dir).length === 0)) {
    const what = tool.dir === 'off' ? 'JOURNAL_DIR is off' : `there is no journal in ${tool.dir}`;
    process.stdout.write(`${what}: nothing was owed\n`);
    return exitCodes.ok;
  }
  const run = new Run(tool);
  const interrupt = new Interrupt();
  try {
    await run.toTheEnd(timeoutMs, interrupt);
    const owed = run.tell();
    if (interrupt.wanted) {
      process.stderr.write(
        `the drain was interrupted; ${owed} events are still owed, and the next drain continues there\n`,
      );
      return interrupt.exit;
    }
    return owed === 0 ? exitCodes.ok : exitCodes.failed;
  } finally {
    run.release();
  }
}

class Run {
  readonly #engine: Engine;
  readonly #board: SinkBoard;
  readonly #supervisor: Supervisor;
  /** Names of the threads. */
  readonly #names: readonly string[];
  /** Per sink: what its ledger and its debt were before this run. */
  readonly #before: readonly { readonly delivered: number; readonly owed: number }[];

  constructor({ configured }: JournalTool) {
    const { sinks, engine: config, kernel } = configured.values;
    const outputs = laneOutputs(configured.outputs);
    // A collector that runs may have the file: its writer is one.
    lockLogFiles(outputs, config.journalDir).release();
    this.#engine = openEngine({
      config,
      lanes: 0,
      sinks: outputs.map(({ name }) => ({ name, drops: false, lagBytesMax: 0 })),
      keep: sinks.sinkKeep,
      start: sinks.sinkStart,
    });
    const { shared } = this.#engine;
    this.#board = new SinkBoard(shared.board);
    this.#before = shared.sinks.map((name) => {
      const state = readCheckpoint(config.journalDir, name);
      const owed = shared.finished.map((lane) =>
        Math.max(0, lane.end.record - Math.max(lane.begin.record, markOf(state, lane).record)),
      );
      return { delivered: state?.ledger.delivered ?? 0, owed: owed.reduce((a, b) => a + b, 0) };
    });
    this.#supervisor = new Supervisor(createLog({ ...logTarget(kernel, 2), name: 'journal' }), () => undefined);
    const metrics = createBoard([sinkMetrics(shared.sinks), loopMetrics], shared.sinks.length);
    this.#names = outputs.map((output, index) => {
      const data: OutputThreadData = {
        output,
        index,
        outputs: shared.sinks,
        values: configured.values,
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
      const file = sibling(import.meta, '../output-thread.ts');
      this.#supervisor.spawn({ name: `sink-${output.name}`, file, data, onDeath: 'restart' });
      return `sink-${output.name}`;
    });
    // A thread that has delivered everything ends by itself: that is no death.
    this.#supervisor.stop();
  }

  /** Until everything is delivered, the time is over or the end is asked for. Throws when a thread never delivered. */
  async toTheEnd(timeoutMs: number, { signal }: Interrupt): Promise<void> {
    const { shared } = this.#engine;
    const total = this.#before.reduce((sum, { owed }) => sum + owed, 0);
    const progress = new Progress('drain', total, 'events');
    const looks = progress.shown ? setInterval(() => progress.at(total - this.#owed()), LOOK_MS) : undefined;
    const asked = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => asked.resolve(), { once: true });
    await Promise.race([this.#supervisor.join(this.#names, timeoutMs), asked.promise]);
    if (this.#names.some((name) => this.#supervisor.runs(name))) {
      const wake = new WakeWords(shared.wake);
      shared.sinks.forEach((_, i) => {
        this.#board.setPhase(i, 'stop');
        wake.wake(FIRST_OUTPUT_SEAT + i);
      });
      await this.#supervisor.join(this.#names, STOP_MS);
    }
    clearInterval(looks);
    progress.clear();
    // A thread that never got to its runner has told no figures: that it owes nothing would be a guess.
    const unstarted = this.#names.find((_, i) => this.#board.state(i) === 'starting');
    if (unstarted !== undefined && !signal.aborted)
      throw serviceErrors.THREAD_DIED({ thread: unstarted, reason: 'it ended before it could deliver' });
  }

  /** Events that are owed now; those of a sink that has not counted yet are what they were. */
  #owed(): number {
    return this.#before.reduce((sum, { owed }, i) => sum + this.#owedTo(i, owed), 0);
  }

  #owedTo(i: number, before: number): number {
    return this.#board.told(i) ? this.#board.get(i, 'lagRecords') : before;
  }

  /** One line per sink. Returns how many events are still owed. */
  tell(): number {
    const { shared, absent } = this.#engine;
    shared.sinks.forEach((name, i) => {
      const before = this.#before[i]!;
      const owed = this.#owedTo(i, before.owed);
      const done = (figure: 'dead' | 'givenUp', since: 'deadBefore' | 'givenUpBefore'): number =>
        this.#board.get(i, figure) - this.#board.get(i, since);
      const delivered = this.#board.told(i) ? this.#board.get(i, 'delivered') - before.delivered : 0;
      const [dead, givenUp] = [done('dead', 'deadBefore'), done('givenUp', 'givenUpBefore')];
      const parts = [
        delivered + dead + givenUp + owed === 0 ? 'nothing was owed' : `delivered ${delivered} events in this run`,
        ...(dead > 0 ? [`dead letters ${dead}`] : []),
        ...(givenUp > 0 ? [`given up ${givenUp}`] : []),
        ...(delivered + dead + givenUp + owed === 0 ? [] : [`owes ${owed} events`]),
        ...(owed > 0 && this.#board.reason(i) !== '' ? [`(${this.#board.reason(i)})`] : []),
      ];
      process.stdout.write(`sink ${[name, ...parts].join('  ')}\n`);
    });
    for (const { name, owedBytes } of absent.filter((sink) => sink.owedBytes > 0))
      process.stdout.write(
        `sink ${name}  is not in OUTPUTS, so nothing was delivered to it; owes ${owedBytes} bytes. ` +
          `Drain with it in OUTPUTS, or give it up by: ringmain journal forget ${name}\n`,
      );
    return this.#owed();
  }

  release(): void {
    this.#engine.release();
  }
}
