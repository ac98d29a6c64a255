/**
 * Session: one SMPP connection, from TCP to its end. It matches responses to requests, asks a silent server whether it
 * lives, and tells everybody who waits when the connection is lost.
 *
 * The reader is bounded by PDU_BYTES_MAX; what waits for an answer is bounded by the caller's window and by the timeout
 * of each request.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Command, encodePdu, type Pdu, PduReader, RESPONSE, Status } from './pdu.ts';

export interface SessionOptions {
  readonly url: string;
  /** TCP and TLS. */
  readonly connectMs: number;
  readonly answerMs: number;
  readonly enquireLinkMs: number;
}

/** What became of a request. late: no answer in time; lost: the connection ended; unsent: it was never written. */
export type Answered =
  | { readonly kind: 'answer'; readonly pdu: Pdu }
  | { readonly kind: 'late' | 'lost' | 'unsent'; readonly reason: string };

export interface RequestOptions {
  readonly answerMs?: number;
  /** Hears the sequence number before anything can come back. */
  readonly sent?: (sequence: number) => void;
  /** Hears the answer before the PDU behind it is read: that may be the receipt of what this answer names. */
  readonly answered?: (pdu: Pdu) => void;
}

interface Waiting {
  resolve(answered: Answered): void;
  readonly answered: RequestOptions['answered'];
  readonly timer: NodeJS.Timeout;
}

const SEQUENCE_MAX = 0x7fffffff;
/** What the kernel and the socket hold back before requests are refused: a server that reads nothing. */
const UNSENT_BYTES_MAX = 1024 * 1024;
const HOST_BRACKETS = /^\[|\]$/g;

export class Session {
  readonly #options: SessionOptions;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #reader = new PduReader();
  readonly #enquire: NodeJS.Timeout;
  /** Requests of the server: deliver_sm. Enquire_link and unbind are answered here. */
  onRequest: (pdu: Pdu) => void = () => undefined;
  /** A response whose request has timed out. */
  onLate: (pdu: Pdu) => void = () => undefined;
  readonly closed: Promise<string>;
  #sequence = 0;
  #end: string | undefined;
  #heard = false;

  private constructor(socket: Socket, options: SessionOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', (error) => this.#lose(reasonOf(error)));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#lose('the connection was closed');
        clearInterval(this.#enquire);
        resolve(this.#end!);
      });
    });
    this.#enquire = setInterval(() => this.#lookForLife(), options.enquireLinkMs);
  }

  /** Opens a connection. Rejects when there is none in time. */
  static open(options: SessionOptions): Promise<Session> {
    const { protocol, hostname, port } = new URL(options.url);
    const host = hostname.replaceAll(HOST_BRACKETS, '');
    const tls = protocol === 'smpps:';
    const target = { host, port: Number(port || (tls ? 3550 : 2775)) };
    const socket = tls ? connectTls({ ...target, servername: host }) : connectTcp(target);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => socket.destroy(new Error(`no connection within ${options.connectMs} ms`)),
        options.connectMs,
      );
      const fail = (error: Error): void => {
        clearTimeout(timer);
        reject(new Error(reasonOf(error)));
      };
      socket.once('error', fail);
      socket.once(tls ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer);
        socket.off('error', fail);
        resolve(new Session(socket, options));
      });
    });
  }

  /** Requests without an answer yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Sends a request. Never rejects. */
  request(
    command: number,
    body: readonly Buffer[] = [],
    { answerMs = this.#options.answerMs, sent, answered }: RequestOptions = {},
  ): Promise<Answered> {
    if (this.#end !== undefined) return Promise.resolve({ kind: 'unsent', reason: this.#end });
    if (this.#socket.writableLength > UNSENT_BYTES_MAX)
      return Promise.resolve({ kind: 'unsent', reason: 'the server reads nothing' });
    this.#sequence = this.#sequence >= SEQUENCE_MAX ? 1 : this.#sequence + 1;
    const sequence = this.#sequence;
    sent?.(sequence);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(sequence);
        resolve({ kind: 'late', reason: `no answer within ${answerMs} ms` });
      }, answerMs);
      this.#waiting.set(sequence, { resolve, answered, timer });
      this.#socket.write(encodePdu(command, sequence, 0, body));
    });
  }

  respond(request: Pdu, status: number, body: readonly Buffer[] = []): void {
    if (this.#end === undefined)
      this.#socket.write(encodePdu((request.command | RESPONSE) >>> 0, request.sequence, status, body));
  }

  /** Ends it at once. */
  destroy(reason: string): void {
    this.#lose(reason);
    this.#socket.destroy();
  }

  #data(chunk: Buffer): void {
    this.#heard = true;
    try {
      for (const pdu of this.#reader.take(chunk)) this.#take(pdu);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.destroy(`the server does not speak SMPP: ${error.message}`);
    }
  }

  #take(pdu: Pdu): void {
    if (pdu.command >= RESPONSE) {
      const waiting = this.#waiting.get(pdu.sequence);
      if (waiting === undefined) {
        this.onLate(pdu);
        return;
      }
      this.#waiting.delete(pdu.sequence);
      clearTimeout(waiting.timer);
      waiting.answered?.(pdu);
      waiting.resolve({ kind: 'answer', pdu });
      return;
    }
    if (pdu.command === Command.ENQUIRE_LINK) this.respond(pdu, Status.OK);
    else if (pdu.command === Command.DELIVER_SM) this.onRequest(pdu);
    else if (pdu.command === Command.UNBIND) {
      this.respond(pdu, Status.OK);
      this.#lose('the server unbound');
      // Behind the answer, whether the server closes its side or not.
      this.#socket.destroySoon();
    } else this.#socket.write(encodePdu(Command.GENERIC_NACK, pdu.sequence, Status.INVALID_COMMAND));
  }

  /** Nothing has come since the last look: the server must take and answer a PDU now, or the connection is given up. */
  #lookForLife(): void {
    if (this.#heard) {
      this.#heard = false;
      return;
    }
    void this.request(Command.ENQUIRE_LINK).then((answered) => {
      if (answered.kind === 'late') this.destroy('the server does not answer enquire_link');
      else if (answered.kind === 'unsent') this.destroy(answered.reason);
    });
  }

  #lose(reason: string): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    for (const { resolve, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      resolve({ kind: 'lost', reason });
    }
    this.#waiting.clear();
  }
}

const reasonOf = (error: Error): string => (error as { readonly code?: string }).code ?? error.message;
