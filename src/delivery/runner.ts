/**
 * Runner: what all outputs share. It follows the strands of its source, fills batches, hands them to the target, and
 * moves the cursor of a strand behind what is delivered.
 *   order       batches of one strand are delivered and passed in order; up to inFlightMax are under way
 *   retry       the same batch again, for ever, after 100 ms doubling to 30 s, with jitter; no other batch of its
 *               strand overtakes it
 *   split       a refused batch is halved until the refused record stands alone and goes to the dead-letter file
 *   kinds       records of kinds that the output does not take are passed over and counted as skipped
 *   checkpoint  after settle(), at most once per second, and once before the first delivery; L4: never ahead of the
 *               target
 *   drain       the runner delivers what is there, settles and writes the checkpoint. With a target that is away it
 *               ends at once, and the journal keeps the rest. A topic has no end: there it delivers only what is under
 *               way
 */
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { Batch } from '../engine/batch.ts';
import type { CheckpointFile, Mark } from '../engine/checkpoint.ts';
import type { SinkBoard } from '../engine/sink-board.ts';
import type { Logger } from '../kernel/log.ts';
import { Attendance } from './attendance.ts';
import { BatchDelivery, type DeadLetterSink, Ended, type Entry, type RunnerMeters } from './batch-delivery.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { type Batching, CursorMoved, type SinkKind, type SinkTarget, TargetLost } from './contract.ts';
import { Filler } from './filler.ts';
import { IdleProbe } from './idle-probe.ts';
import { InFlight } from './in-flight.ts';
import type { Source, Strand } from './source.ts';
import { type Report, Standing } from './standing.ts';
import type { Waiter } from './waiter.ts';

const REPORT_MS = 100;
/** How often a target looks whether others have changed its file; a deep sleep of a waiter lasts as long. */
const LOOK_MS = 450;
/** A blocking thread lets its event loop turn between two rests if the last turn is this long ago, ms. */
const TURN_MS = 20;

export interface RunnerDeps {
  /** Name of the output: of its checkpoint, its dead letters, its metrics. */
  readonly name: string;
  readonly kind: SinkKind<never>;
  readonly open: (state: unknown) => Promise<SinkTarget>;
  readonly batching: Batching;
  readonly source: Source;
  /** Kinds of records that the output takes; undefined: all. The others are passed over. */
  readonly records?: readonly number[];
  readonly checkpoint: CheckpointFile | undefined;
  readonly state: unknown;
  /** Where the target is; reasons name it. */
  readonly places?: readonly string[];
  readonly deadLetters: DeadLetterSink;
  readonly board: SinkBoard;
  readonly index: number;
  readonly waiter: Pick<Waiter, 'busy' | 'rest' | 'pause'>;
  readonly log: Logger;
  readonly meters: RunnerMeters;
  /** The line of the record at `offset`, for dead letters. */
  readonly line: (buffer: Buffer, offset: number) => Uint8Array;
  /** Drain goes on through outages (`ringmain journal drain`). */
  readonly patient?: boolean;
  /** ON_LAG=drop: undelivered bytes kept at most; 0: no limit. */
  readonly lagBytesMax?: number;
  /** Ms of a clock that never goes back: a wall clock that is set back would stretch a wait. */
  readonly now?: () => number;
  readonly random?: () => number;
}

export class SinkRunner {
  readonly #deps: RunnerDeps;
  readonly #now: () => number;
  readonly #standing: Standing;
  readonly #delivery: BatchDelivery;
  readonly #attendance: Attendance | undefined;
  readonly #probe: IdleProbe;
  readonly #source: Source;
  readonly #filler: Filler;
  readonly #checkpoints: CheckpointWriter;
  #target: SinkTarget | undefined;
  readonly #inFlight = new InFlight();
  #lastReport = Number.NEGATIVE_INFINITY;
  #lastLook = Number.NEGATIVE_INFINITY;
  #reopens: number;
  #moved: CursorMoved | undefined;
  /** The run ends. A batch may be left undelivered; nothing behind it on its strand is passed. */
  #over = false;
  #oldestMs = 0;
  #ended = false;
  #lastTurn = Number.NEGATIVE_INFINITY;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => performance.now());
    this.#source = deps.source;
    this.#filler = new Filler({ ...deps, inFlightMax: () => (this.#target as SinkTarget).inFlightMax });
    const { kind, source } = deps;
    const { membership } = source;
    const classify = (error: unknown) => membership?.classify(error) ?? kind.classify(error);
    const foreign = (error: unknown) => membership?.classify(error) !== undefined;
    this.#standing = new Standing({ ...deps, classify, foreign }, this.#now, () => this.#report());
    this.#checkpoints = new CheckpointWriter({
      ...deps,
      standing: this.#standing,
      target: () => this.#target,
      inFlight: this.#inFlight,
      lost: () => {
        this.#over = true;
      },
    });
    this.#delivery = new BatchDelivery({
      ...deps,
      standing: this.#standing,
      target: () => this.#target as SinkTarget,
      moved: () => this.#moved !== undefined,
      settle: () => this.#checkpoints.settle(),
    });
    this.#probe = new IdleProbe({
      standing: this.#standing,
      target: () => this.#target,
      meters: deps.meters,
      now: this.#now,
    });
    if (membership !== undefined)
      this.#attendance = new Attendance({
        membership,
        standing: this.#standing,
        target: () => this.#target as SinkTarget,
        strands: () => source.strands,
        settle: async () => {
          await this.#inFlight.allEnd();
          if (this.#checkpoints.dirty) await this.#checkpoints.save();
        },
        free: (strand) => this.#filler.release(strand),
        begun: () => this.#tellPassed(),
        failed: () => deps.meters.failure('connect'),
      });
    this.#reopens = deps.board.reloads(deps.index);
  }

  /**
   * The target has found its cursors moved between two writes. The runner follows them before it reads the next batch.
   */
  moved(moved: CursorMoved): void {
    this.#moved ??= moved;
  }

  /** The target's connection was lost between two writes. */
  connectionLost(): void {
    this.#probe.lost();
  }

  /** Runs until the phase says drain or stop and the work of that phase is done. Throws only for defects. */
  async run(): Promise<void> {
    const { board, index } = this.#deps;
    try {
      // First of all: a lag of 0 on the board would only mean that nobody has measured it yet.
      this.#standing.tell();
      if ((await this.#open()) && (await this.#begin())) await this.#loop();
      await this.#finish();
      if (this.#checkpoints.lost !== undefined) throw this.#checkpoints.lost;
    } finally {
      this.#probe.end();
      await this.#target?.close();
      await this.#source.close();
      this.#deps.deadLetters.close();
      this.#ended = true;
      this.#standing.tell();
      board.setState(index, 'ended', board.reason(index));
    }
  }

  async #open(): Promise<boolean> {
    // Where the checkpoint stands; the target's own cursors may have passed letters behind it.
    this.#tellPassed();
    for (let attempt = 0; ; attempt++) {
      try {
        this.#target = await this.#deps.open(this.#deps.state);
        if (this.#target.cursors !== undefined && this.#source.membership === undefined)
          this.#follow(await this.#target.cursors());
        this.#tellPassed();
        // The target's own cursors may stand elsewhere, so the lag is told before the state is up.
        this.#standing.tell();
        this.#standing.up();
        return true;
      } catch (error) {
        await this.#target?.close();
        this.#target = undefined;
        this.#deps.meters.failure('connect');
        this.#standing.down(error);
        if (!(await this.#standing.backOff(attempt, error))) return false;
      }
    }
  }

  /**
   * Writes a checkpoint that knows the target before anything is delivered to it. A crash right after the first batch
   * must find out where that batch began, also in a file that is new to this output.
   */
  async #begin(): Promise<boolean> {
    const { checkpoint } = this.#deps;
    if (checkpoint === undefined || this.#target?.settle === undefined) return true;
    for (let attempt = 0; ; attempt++) {
      const error = await this.#checkpoints.save();
      if (error === undefined) {
        if (attempt > 0) this.#standing.up();
        return true;
      }
      if (this.#checkpoints.lost !== undefined) return false;
      this.#standing.down(error);
      if (!(await this.#standing.backOff(attempt, error))) return false;
    }
  }

  async #loop(): Promise<void> {
    const { batching } = this.#deps;
    for (;;) {
      await this.#chores();
      const phase = this.#phase();
      // A topic has no end: what is not under way is left to the group.
      if (phase === 'stop' || this.#over || (phase === 'drain' && this.#source.membership !== undefined)) return;
      let progress = false;
      let wait = Number.POSITIVE_INFINITY;
      for (const strand of this.#source.strands) {
        const now = this.#now();
        if (this.#fill(strand, now)) progress = true;
        const { filling } = strand;
        if (filling === undefined || filling.count + filling.skipped + filling.losses.length === 0) continue;
        const full =
          filling.count >= batching.records || filling.full || filling.losses.length > 0 || strand.reader.finished;
        const left = strand.fillingSince + batching.flushMs - now;
        if (full || left <= 0 || phase === 'drain') {
          progress = true;
          await this.#dispatch(strand, filling);
          if (this.#over) return;
        } else wait = Math.min(wait, left);
      }
      if (progress) {
        // A second round would only find that nothing more is there.
        if (phase === 'run' && !this.#work()) await this.#rest(wait);
        continue;
      }
      if (this.#inFlight.count > 0) {
        await this.#rest(wait);
        continue;
      }
      const before = this.#source.strands;
      if (this.#source.advance()) {
        for (const strand of before) this.#filler.release(strand);
        this.#checkpoints.dirty = true;
        continue;
      }
      if (phase === 'drain' || this.#source.exhausted) return;
      await this.#rest(wait);
    }
  }

  async #rest(ms: number): Promise<void> {
    const now = this.#now();
    const came = this.#filler.takeCame();
    if (came > 0) this.#deps.waiter.busy(came);
    // Timers and batches under way need turns of the event loop.
    if (this.#inFlight.count > 0 || (this.#deps.kind.waits === 'blocking' && now - this.#lastTurn >= TURN_MS)) {
      this.#lastTurn = now;
      await turn();
    }
    await this.#deps.waiter.rest(now, ms, () => this.#phase() !== 'run' || this.#work());
  }

  #work(): boolean {
    return this.#source.strands.some((strand) => strand.reader.end().position > strand.reader.mark.position);
  }

  #phase(): 'run' | 'drain' | 'stop' {
    const phase = this.#deps.board.phase(this.#deps.index);
    return phase === 'abort' ? 'stop' : phase;
  }

  #fill(strand: Strand, now: number): boolean {
    return this.#moved === undefined && !strand.recalled && this.#filler.fill(strand, now);
  }

  async #dispatch(strand: Strand, batch: Batch): Promise<void> {
    while (this.#inFlight.count >= (this.#target as SinkTarget).inFlightMax) {
      await this.#oneEnds();
      if (this.#phase() === 'stop') return;
    }
    if (this.#moved !== undefined || this.#over || strand.recalled) return;
    strand.filling = undefined;
    const entry = this.#inFlight.add(strand, batch, (added) => this.#deliver(added));
    // With one batch at a time the next one waits anyway; with several, filling goes on meanwhile.
    if ((this.#target as SinkTarget).inFlightMax === 1) await entry.done;
  }

  /**
   * Waits until a batch that is under way has ended. A checkpoint that falls due meanwhile is written: an outage may be
   * long, and a crash in it would send again what was delivered before. Not with settle(), which waits for every batch.
   */
  async #oneEnds(): Promise<void> {
    const ends = this.#inFlight.oneEnds().then(() => true);
    if (this.#checkpoints.dirty && this.#target?.settle === undefined) {
      const cancel = new AbortController();
      const due = delay(this.#checkpoints.dueMs(this.#now()), false, { signal: cancel.signal }).catch(() => false);
      const ended = await Promise.race([ends, due]).finally(() => cancel.abort());
      if (ended) return;
      await this.#checkpoints.saveDue(this.#now());
    }
    await ends;
  }

  async #deliver(entry: Entry): Promise<void> {
    const begin = performance.now();
    try {
      await this.#delivery.run(entry);
      entry.delivered = true;
      this.#deps.meters.batch(entry.batch.count, entry.batch.bytes, (performance.now() - begin) / 1000);
      this.#standing.up();
    } catch (error) {
      // Whoever has the strand now moves its cursor.
      if (entry.strand.recalled && !(error instanceof TargetLost)) return;
      if (error instanceof CursorMoved) this.#moved = error;
      else if (error instanceof TargetLost) this.#checkpoints.lost = error;
      else if (!(error instanceof Ended)) throw error;
      // After CursorMoved the strands are read again from the target's cursors. After anything else the run ends.
      if (this.#moved === undefined) this.#over = true;
    } finally {
      if (!entry.delivered) entry.triedFailed(new Ended('not delivered'));
      entry.ended = true;
      this.#settleQueue(entry.strand);
    }
  }

  /** Takes ended batches off the head of the strand's queue, and moves the cursor over those that are delivered. */
  #settleQueue(strand: Strand): void {
    for (let head = this.#inFlight.takeEnded(strand); head !== undefined; head = this.#inFlight.takeEnded(strand)) {
      // A delivered batch behind an undelivered one is not passed: both are read again.
      if (!head.delivered) strand.broken = true;
      if (!strand.broken) this.#pass(head);
      this.#filler.free(head.batch);
    }
  }

  #pass({ strand, batch, dead }: Entry): void {
    const { ledger } = this.#source;
    ledger.passed += batch.to.record - batch.from.record;
    ledger.delivered += batch.count - dead;
    ledger.dead += dead;
    ledger.givenUp += batch.lostRecords;
    ledger.skipped += batch.skipped;
    for (const loss of batch.losses)
      this.#deps.log.error(
        { lane: strand.key, from: loss.from, to: loss.to, reason: loss.reason },
        'events are given up',
      );
    strand.delivered = batch.to;
    strand.reader.advance(batch.to);
    // Without a checkpoint the board is what the next thread of this output finds.
    if (this.#deps.checkpoint === undefined && batch.count - dead < batch.to.record - batch.from.record)
      this.#standing.tell();
    this.#oldestMs = 0;
    this.#checkpoints.dirty = true;
  }

  async #chores(): Promise<void> {
    const now = this.#now();
    const { board, index } = this.#deps;
    if (now - this.#lastReport >= REPORT_MS) {
      this.#lastReport = now;
      this.#standing.tell();
      const reopens = board.reloads(index);
      if (reopens !== this.#reopens && this.#target?.reopen !== undefined) {
        // The checkpoint before says what the old file holds, the one after what the new file is. While the second one
        // cannot be written, the target writes nothing to the new file.
        if ((await this.#checkpoints.save()) === undefined) {
          this.#reopens = reopens;
          await this.#target.reopen();
          await this.#checkpoints.save();
        }
      }
    }
    if (this.#target?.look !== undefined && now - this.#lastLook >= LOOK_MS) {
      this.#lastLook = now;
      await this.#look();
    }
    if (this.#attendance !== undefined && !(await this.#attendance.look())) this.#over = true;
    if (this.#inFlight.count === 0) this.#probe.look();
    if (this.#moved !== undefined) await this.#followCursors();
    await this.#checkpoints.look(now);
  }

  async #look(): Promise<void> {
    let error: unknown;
    try {
      if (await this.#target?.look?.()) error = await this.#checkpoints.save();
    } catch (failure) {
      error = failure;
    }
    // With nothing under way no write tells whether the target is back. A lost target ends the run.
    if (error === undefined && this.#inFlight.count === 0 && this.#standing.isAway('target')) this.#standing.up();
    else if (error !== undefined && this.#checkpoints.lost === undefined) this.#standing.down(error);
  }

  async #followCursors(): Promise<void> {
    await this.#inFlight.allEnd();
    const moved = this.#moved as CursorMoved;
    this.#deps.log.warn(
      { reason: moved.message },
      'the target is at a different position; continuing from its cursors',
    );
    for (let attempt = 0; ; attempt++) {
      try {
        this.#follow(moved.cursors);
        if (attempt > 0) this.#standing.up();
        break;
      } catch (error) {
        this.#standing.down(error);
        this.#over = !(await this.#standing.backOff(attempt, error));
        if (this.#over) return;
      }
    }
    this.#tellPassed();
    this.#moved = undefined;
    this.#checkpoints.dirty = true;
  }

  #follow(cursors: ReadonlyMap<string, Mark>): void {
    for (const strand of this.#source.strands) this.#filler.release(strand);
    this.#source.follow(cursors, (strand, from, to) => this.#deps.deadLetters.count(strand, from, to));
  }

  async #finish(): Promise<void> {
    if (this.#phase() !== 'stop') await this.#inFlight.allEnd();
    const settles = this.#target?.settle !== undefined || this.#deps.checkpoint === undefined;
    if (this.#target !== undefined && (this.#checkpoints.dirty || settles)) await this.#checkpoints.save(true);
  }

  #tellPassed(): void {
    for (const { key, delivered } of this.#source.strands) this.#deps.deadLetters.passed(key, delivered.position);
  }

  #report(): Report {
    const lag = this.#source.lag();
    if (this.#oldestMs === 0) {
      const heads = this.#source.strands.map((strand) => this.#oldest(strand)).filter((ms) => ms > 0);
      this.#oldestMs = heads.length > 0 ? Math.min(...heads) : 0;
    }
    const oldestMs = this.#ended && lag.records === 0 ? 0 : this.#oldestMs;
    return { lag, published: this.#source.published(), ledger: this.#source.ledger, oldestMs };
  }

  #oldest(strand: Strand): number {
    const head = this.#inFlight.head(strand) ?? strand.filling;
    return head === undefined || head.count === 0 ? 0 : head.oldestMs;
  }
}
