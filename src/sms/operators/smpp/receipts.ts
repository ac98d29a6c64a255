/**
 * Receipts of a bind: finds the message that a deliver_sm is about, has the receipt committed, then answers the SMSC.
 *
 *   by the SMSC's id   those of this process from memory, the others by the database
 *   by reference       an SMSC that gives user_message_reference back names messages whose submit_sm had no answer:
 *                      those of this process, and by the database what a dead one has left held
 *   late answers       a submit_sm_resp behind its timeout says that the message was taken
 *   unknown            the message may not be committed, or not be held yet: the SMSC is to send the receipt again, a
 *                      bounded number of times; then it is taken and counted as stray
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../../kernel/clock.ts';
import { referenceOf } from '../../message/reference.ts';
import type { OutgoingMessage } from '../../model.ts';
import type { Receipt, Submitted } from '../contract.ts';
import type { MessageIds } from './message-id.ts';
import { Command, type DeliverSm, type Pdu, RESPONSE, readDeliver, Status, submittedId } from './pdu.ts';
import { isReceipt, readReceipt } from './receipt.ts';
import type { Session } from './session.ts';

export interface ReceiptMeans {
  receive(receipt: Receipt): Promise<'recorded' | 'unknown'>;
  stray(): void;
}

/** Ids that are kept in memory; a receipt of an earlier message is found by the database. */
const IDS_MAX = 100_000;
const UNANSWERED_MAX = 10_000;
/** Receipts that wait for their commit; beyond it the SMSC is told to send again. */
const RUNNING_MAX = 2000;
/** Another process may be about to commit what this receipt is about; an SMSC that repeats at once is slowed by it. */
const UNKNOWN_AGAIN_MS = 1000;
/** Tries of a receipt that this process answers with a temporary error. */
const UNKNOWN_TRIES_MAX = 8;
/** Receipts whose tries are counted, and for how long behind the last one; beyond it none is asked for again. */
const TRIED_MAX = 50_000;
const TRIED_MS = 3_600_000;

interface Tried {
  readonly tries: number;
  readonly atMs: number;
}

interface Unanswered {
  readonly messageId: string;
  readonly session: Session;
  readonly sequence: number;
}

export class SmppReceipts {
  readonly #operator: string;
  readonly #means: ReceiptMeans;
  readonly #clock: Clock;
  readonly #written: MessageIds;
  /** Our ids by those of the SMSC. */
  readonly #ids = new Map<string, string>();
  /** By number and reference. */
  readonly #unanswered = new Map<string, Unanswered>();
  /** Receipts that were unknown, the latest last. */
  readonly #tried = new Map<string, Tried>();
  readonly #running = new Set<Promise<void>>();

  /** `written`: how the SMSC writes ids. */
  constructor(operator: string, means: ReceiptMeans, clock: Clock, written: MessageIds) {
    this.#written = written;
    this.#operator = operator;
    this.#means = means;
    this.#clock = clock;
  }

  /** The SMSC has answered with its id. */
  taken(id: string, messageId: string): void {
    if (id !== '') keep(this.#ids, id, messageId, IDS_MAX);
  }

  /** Whether the SMSC has the message is not known. */
  unanswered(session: Session, sequence: number, { messageId, to }: OutgoingMessage): void {
    const submitted = { to, reference: referenceOf(messageId) };
    keep(this.#unanswered, keyOf(submitted), { messageId, session, sequence }, UNANSWERED_MAX);
  }

  /** A response that nobody waits for any more. */
  late(session: Session, pdu: Pdu): void {
    if (pdu.command !== (Command.SUBMIT_SM | RESPONSE) >>> 0 || pdu.status !== Status.OK) return;
    for (const [key, one] of this.#unanswered) {
      if (one.session !== session || one.sequence !== pdu.sequence) continue;
      this.#unanswered.delete(key);
      const operatorId = this.#written.submitted(submittedId(pdu.body));
      this.taken(operatorId, one.messageId);
      // Nobody sends it again; without the commit, the message waits for its receipt as before.
      const receipt = { ...this.#receiptOf(one.messageId, operatorId, 'sent', null), newId: true };
      this.#run(this.#means.receive(receipt).then(() => undefined));
      return;
    }
  }

  /** A deliver_sm; its response is sent when the receipt is committed. */
  deliver(session: Session, pdu: Pdu): void {
    const read = this.#running.size >= RUNNING_MAX ? Status.MESSAGE_QUEUE_FULL : this.#read(pdu);
    if (typeof read === 'number') {
      respond(session, pdu, read);
      return;
    }
    this.#run(
      this.#record(read).then(
        (status) => respond(session, pdu, status),
        () => respond(session, pdu, Status.TEMPORARY_ERROR),
      ),
    );
  }

  /** The receipt, or the status that the SMSC gets at once. */
  #read(pdu: Pdu): Receipt | number {
    let deliver: DeliverSm;
    try {
      deliver = readDeliver(pdu.body);
    } catch {
      this.#means.stray();
      return Status.PERMANENT_ERROR;
    }
    // Messages from handsets have no place here.
    if (!isReceipt(deliver)) return Status.PERMANENT_ERROR;
    const receipt = this.#resolve(deliver);
    if (receipt !== undefined) return receipt;
    this.#means.stray();
    return Status.OK;
  }

  /** Resolves when the receipts under way are answered. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** What the SMSC is answered. */
  async #record(receipt: Receipt): Promise<number> {
    const { operatorId, submitted, status } = receipt;
    const key = `${status} ${operatorId ?? (submitted === undefined ? '' : keyOf(submitted))}`;
    let result = await this.#means.receive(receipt);
    if (result === 'unknown') {
      await delay(UNKNOWN_AGAIN_MS);
      result = await this.#means.receive(receipt);
    }
    if (result === 'unknown' && this.#mayComeAgain(key)) return Status.TEMPORARY_ERROR;
    this.#tried.delete(key);
    if (result === 'unknown') this.#means.stray();
    else if (submitted !== undefined) this.#unanswered.delete(keyOf(submitted));
    return Status.OK;
  }

  #mayComeAgain(key: string): boolean {
    const atMs = this.#clock.elapsed();
    for (const [oldest, tried] of this.#tried) {
      if (tried.atMs > atMs - TRIED_MS) break;
      this.#tried.delete(oldest);
    }
    const tries = (this.#tried.get(key)?.tries ?? 0) + 1;
    this.#tried.delete(key);
    if (tries > UNKNOWN_TRIES_MAX || this.#tried.size >= TRIED_MAX) return false;
    this.#tried.set(key, { tries, atMs });
    return true;
  }

  /** Undefined: it says nothing about a message. */
  #resolve(deliver: DeliverSm): Receipt | undefined {
    const { id: given, status, reason, reference } = readReceipt(deliver);
    if (status === undefined) return undefined;
    const id = this.#written.receipted(given);
    const known = this.#ids.get(id);
    if (known !== undefined) return this.#receiptOf(known, id, status, reason);
    const operatorId = id === '' ? null : id;
    if (reference === undefined)
      return operatorId === null ? undefined : this.#receiptOf(null, operatorId, status, reason);
    const submitted = { to: `+${deliver.source.replace(/^\+/, '')}`, reference };
    const messageId = this.#unanswered.get(keyOf(submitted))?.messageId ?? null;
    return { ...this.#receiptOf(messageId, operatorId, status, reason), submitted, newId: messageId !== null };
  }

  #receiptOf(
    messageId: string | null,
    operatorId: string | null,
    status: Receipt['status'],
    reason: string | null,
  ): Receipt {
    // "done date" of a receipt has minutes, and no time zone.
    return { messageId, operatorId, operator: this.#operator, status, reason, atMs: this.#clock.now() };
  }

  #run(work: Promise<void>): void {
    const settled = work.catch(() => undefined).finally(() => this.#running.delete(settled));
    this.#running.add(settled);
  }
}

const keyOf = ({ to, reference }: Submitted): string => `${to} ${reference}`;

const respond = (session: Session, pdu: Pdu, status: number): void =>
  // message_id of deliver_sm_resp is unused and empty (4.6.2).
  session.respond(pdu, status, [Buffer.from([0])]);

/** Puts an entry behind the others, and drops the oldest beyond the bound. */
function keep<K, V>(map: Map<K, V>, key: K, value: V, max: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value as K);
}
