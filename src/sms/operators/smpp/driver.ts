/**
 * SMPP driver: an operator's SMSC over one transceiver bind of SMPP 3.4 in each process.
 *
 *   up        bound. Otherwise it connects again, after a pause that doubles to 30 s
 *   send      a submit_sm per segment, one after the other; the last one asks for the receipt, and its id names the
 *             message. When a later segment is refused, the operator has a message that no phone can put together:
 *             rejected
 *   unknown   no answer in time, or the connection was lost after submit_sm was written
 *   receipts  deliver_sm; answered when the receipt is committed. An answer that comes after its timeout is a receipt,
 *             too: the operator has taken the message
 *   drain     the segments of a message that was begun are written, answered or not, for a part of it is of no use to
 *             anybody; then unbind
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, systemClock } from '../../../kernel/clock.ts';
import { referenceOf } from '../../message/reference.ts';
import type { OutgoingMessage } from '../../model.ts';
import type { Operator, OperatorState, Receipt, SendResult } from '../contract.ts';
import type { GivenOperator } from '../operator-option.ts';
import { refusalOf } from './answers.ts';
import { type MessageIds, messageIdsOf } from './message-id.ts';
import { bindBody, Command, ESM_UDHI, Status, submitBody, submittedId } from './pdu.ts';
import { SmppReceipts } from './receipts.ts';
import { Session } from './session.ts';
import { destinationOf, segmentsOf, sourceOf, validityOf } from './text.ts';

export interface SmppMeans {
  receive(receipt: Receipt): Promise<'recorded' | 'unknown'>;
  /** Undefined: it is bound. */
  told(away: string | undefined): void;
  /** A receipt that belongs to no message, or that cannot be read. */
  stray(): void;
  readonly clock?: Clock;
}

const RECONNECT_MS = 250;
const RECONNECT_MS_MAX = 30_000;
const UNBIND_MS_MAX = 1000;
/** Tries of a segment behind the first one that the SMSC throttles. */
const SEGMENT_TRIES_MAX = 10;
const EXPRESS_PRIORITY = 1;

export class SmppOperator implements Operator {
  readonly name: string;
  readonly receiptsBear = 'operator_id';
  readonly #given: GivenOperator;
  readonly #means: SmppMeans;
  readonly #clock: Clock;
  readonly #written: MessageIds;
  readonly #receipts: SmppReceipts;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #session: Session | undefined;
  /** Of the segments of a message; consecutive messages to a phone must differ in it. */
  #linked = Math.floor(Math.random() * 0x100);

  constructor(given: GivenOperator, means: SmppMeans) {
    this.name = given.name;
    this.#given = given;
    this.#means = means;
    this.#clock = means.clock ?? systemClock;
    this.#written = messageIdsOf(given.receipt_id);
    this.#receipts = new SmppReceipts(given.name, means, this.#clock, this.#written);
    this.#running = this.#keepBound();
  }

  state(): OperatorState {
    return this.#session === undefined ? 'away' : 'up';
  }

  async send(message: OutgoingMessage, signal: AbortSignal): Promise<SendResult> {
    const session = this.#session;
    if (session === undefined) return { kind: 'later', reason: 'not bound to the SMSC', away: true };
    this.#linked = (this.#linked + 1) & 0xff;
    const { bodies, dataCoding, linked } = segmentsOf(message.text, this.#linked);
    const last = bodies.length - 1;
    const shared = {
      source: sourceOf(message.sender === '' ? this.#given.sender : message.sender),
      destination: destinationOf(message.to),
      esmClass: linked ? ESM_UDHI : 0,
      priority: message.lane === 'express' ? EXPRESS_PRIORITY : 0,
      validity: validityOf(message.validUntilMs - this.#clock.now()),
      dataCoding,
      userMessageReference: referenceOf(message.messageId),
    };
    let result: SendResult = { kind: 'taken', id: '' };
    for (const [index, body] of bodies.entries()) {
      const pdu = submitBody({ ...shared, receipt: index === last, message: body });
      const submit = (): Promise<SendResult> =>
        this.#submit(session, pdu, message, { first: index === 0, last: index === last }, signal);
      const next = index === 0 ? await submit() : await followed(submit, signal, `segment ${index + 1} of ${last + 1}`);
      if (next.kind !== 'taken' && !(next.kind === 'unknown' && signal.aborted)) return next;
      if (result.kind === 'taken') result = next;
    }
    return result;
  }

  /** One submit_sm. */
  async #submit(
    session: Session,
    pdu: readonly Buffer[],
    message: OutgoingMessage,
    { first, last }: { readonly first: boolean; readonly last: boolean },
    signal: AbortSignal,
  ): Promise<SendResult> {
    if (first && signal.aborted) return { kind: 'later', reason: 'the process ends', away: true };
    let sequence = 0;
    const asked = session.request(Command.SUBMIT_SM, pdu, {
      answerMs: this.#given.timeout_ms,
      sent: (number) => {
        sequence = number;
      },
      answered: ({ status, body }) => {
        if (last && status === Status.OK) this.#receipts.taken(this.#idIn(body), message.messageId);
      },
    });
    const answered = await orAborted(asked, signal);
    if (answered.kind === 'unsent') return { kind: 'later', reason: answered.reason, away: true };
    if (answered.kind !== 'answer') {
      if (last) this.#receipts.unanswered(session, sequence, message);
      return { kind: 'unknown', reason: answered.reason };
    }
    const { status, body } = answered.pdu;
    if (status !== Status.OK) return refusalOf(status);
    return { kind: 'taken', id: this.#idIn(body) };
  }

  /** Of a submit_sm_resp. */
  #idIn(body: Buffer): string {
    return this.#written.submitted(submittedId(body));
  }

  async #keepBound(): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs = RECONNECT_MS;
    while (!signal.aborted) {
      const session = await this.#bind();
      if (typeof session !== 'string') {
        pauseMs = RECONNECT_MS;
        this.#session = session;
        this.#means.told(undefined);
        const reason = await orAborted(session.closed, signal);
        this.#session = undefined;
        if (signal.aborted) return this.#unbind(session);
        this.#means.told(typeof reason === 'string' ? reason : reason.reason);
      } else this.#means.told(session);
      await delay(pauseMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      pauseMs = Math.min(RECONNECT_MS_MAX, pauseMs * 2);
    }
  }

  /** A bound session, or why there is none. */
  async #bind(): Promise<Session | string> {
    const { url, timeout_ms: timeoutMs, system_id: systemId = '', password = '' } = this.#given;
    let session: Session;
    try {
      session = await Session.open({
        url,
        connectMs: timeoutMs,
        answerMs: timeoutMs,
        enquireLinkMs: this.#given.enquire_link_ms ?? 30_000,
      });
    } catch (error) {
      return (error as Error).message;
    }
    const opened = session;
    // Receipts may come right behind the answer to the bind.
    opened.onRequest = (pdu) => this.#receipts.deliver(opened, pdu);
    opened.onLate = (pdu) => this.#receipts.late(opened, pdu);
    const bind = bindBody({ systemId, password, systemType: this.#given.system_type ?? '' });
    const answered = await orAborted(opened.request(Command.BIND_TRANSCEIVER, bind), this.#closing.signal);
    if (answered.kind === 'answer' && answered.pdu.status === Status.OK) return opened;
    const reason =
      answered.kind === 'answer' ? `the bind was refused: ${refusalOf(answered.pdu.status).reason}` : answered.reason;
    opened.destroy(reason);
    return reason;
  }

  async #unbind(session: Session): Promise<void> {
    await session.request(Command.UNBIND, [], { answerMs: UNBIND_MS_MAX });
    session.destroy('unbound');
    await session.closed;
  }

  /** Ends the bind in order. Receipts that are being committed are answered first. */
  async close(): Promise<void> {
    await this.#receipts.settled();
    this.#closing.abort();
    await this.#running;
  }
}

/** A segment behind the first one: the operator has a part of the message, so the message is never sent again. */
async function followed(submit: () => Promise<SendResult>, signal: AbortSignal, which: string): Promise<SendResult> {
  for (let tries = 1; ; tries += 1) {
    const result = await submit();
    const { kind } = result;
    if (kind === 'taken') return result;
    const reason = `${which}: ${result.reason}`;
    if (kind === 'unknown') return { kind, reason };
    if (kind === 'rejected' || result.afterMs === undefined || tries === SEGMENT_TRIES_MAX || signal.aborted)
      return { kind: 'rejected', reason };
    await delay(result.afterMs, undefined, { signal }).catch(() => undefined);
  }
}

type Interrupted = { readonly kind: 'lost'; readonly reason: string };

/** What comes, or that nobody waits for it any more. */
async function orAborted<T>(coming: Promise<T>, signal: AbortSignal): Promise<T | Interrupted> {
  const ended = { kind: 'lost', reason: 'the process ended before an answer came' } as const;
  if (signal.aborted) return ended;
  let stop: (() => void) | undefined;
  const aborted = new Promise<Interrupted>((resolve) => {
    stop = () => resolve(ended);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([coming, aborted]);
  } finally {
    signal.removeEventListener('abort', stop!);
  }
}
