/**
 * An SMSC for tests and the demo: the server of npm `smpp`, which shares no code with ours, in this process. What it does can
 * be changed at any moment; it counts each submit_sm that it took, by the message's text and number, which is the oracle of
 * "never twice".
 */
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestScope } from './process.ts';

/** What of npm `smpp` is used here; it has no types. */
interface SmppPdu {
  readonly command: string;
  readonly command_status: number;
  readonly system_id: string;
  readonly password: string;
  readonly source_addr: string;
  readonly destination_addr: string;
  readonly esm_class: number;
  readonly data_coding: number;
  readonly registered_delivery: number;
  readonly priority_flag: number;
  readonly validity_period: unknown;
  readonly short_message: { readonly message: string | Buffer; readonly udh?: readonly Buffer[] };
  readonly user_message_reference?: number;
  response(options?: object): SmppPdu;
}
interface SmppSession {
  readonly socket: { destroy(): void };
  on(event: string, listener: (pdu: SmppPdu) => void): void;
  send(pdu: SmppPdu): boolean;
  close(): void;
  destroy(): void;
  deliver_sm(options: object, answered: (pdu: SmppPdu) => void): boolean;
  enquire_link(options: object, answered: (pdu: SmppPdu) => void): boolean;
}
interface Smpp {
  createServer(listener: (session: SmppSession) => void): Server;
  readonly ESME_ROK: number;
  readonly ESME_RTHROTTLED: number;
  readonly ESME_RMSGQFUL: number;
  readonly ESME_RINVDSTADR: number;
  readonly ESME_RBINDFAIL: number;
  readonly ESME_RALYBND: number;
}
const smpp = createRequire(import.meta.url)('smpp') as Smpp;

/**
 * take      takes the segment and answers with an id
 * refuse    ESME_RINVDSTADR, takes nothing
 * throttle  ESME_RTHROTTLED, takes nothing
 * full      ESME_RMSGQFUL, takes nothing
 * silent    takes the segment and never answers
 * cut       takes the segment and cuts the connection
 * drop      cuts the connection and takes nothing
 */
export type SmscBehaviour = 'take' | 'refuse' | 'throttle' | 'full' | 'silent' | 'cut' | 'drop';

export interface TakenSegment {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** As the phone would show it. */
  readonly text: string;
  readonly dataCoding: number;
  /** Of the user data header: reference, total, number. */
  readonly place: readonly [number, number, number] | undefined;
  readonly registered: boolean;
  readonly priority: number;
  readonly validity: unknown;
  readonly reference: number | undefined;
  readonly atMs: number;
}

export interface SmscOptions {
  readonly port?: number;
  readonly systemId?: string;
  readonly password?: string;
  readonly behaviour?: SmscBehaviour;
  /** Chosen per segment; wins over `behaviour`. */
  readonly judge?: (segment: TakenSegment) => SmscBehaviour;
  readonly delayMs?: number;
  /** Receipts that come by themselves behind the answer: how many of each message. */
  readonly receipts?: number;
}

export class Smsc {
  readonly url: string;
  readonly port: number;
  behaviour: SmscBehaviour;
  judge: SmscOptions['judge'];
  delayMs: number;
  receipts: number;
  /** Whether receipts give user_message_reference back, and have TLVs at all. */
  givesReference = false;
  tlvs = true;
  /** How submit_sm_resp and receipts write the number of a message. */
  idOf = (number: number): string => `smsc-${number}`;
  receiptIdOf = (id: string): string => id;
  readonly taken: TakenSegment[] = [];
  /** submit_sm, taken or not; under way now, and the most there ever were. */
  requests = 0;
  running = 0;
  runningMax = 0;
  /** Transceivers, and transmitters. */
  binds = 0;
  transmitters = 0;
  unbinds = 0;
  enquiries = 0;
  /** Answers to receipts: command_status. */
  readonly receiptAnswers: number[] = [];
  readonly #sessions = new Set<SmppSession>();
  readonly #server: Server;
  readonly #options: SmscOptions;
  /** False: binds are refused. */
  binding = true;
  /** True: it takes no more binds, because there is one. */
  single = false;
  /** False: it reads and answers nothing, not even enquire_link. */
  answering = true;
  #next = 1;

  constructor(server: Server, options: SmscOptions) {
    this.#server = server;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    this.url = `smpp://127.0.0.1:${this.port}`;
    this.behaviour = options.behaviour ?? 'take';
    this.judge = options.judge;
    this.delayMs = options.delayMs ?? 0;
    this.receipts = options.receipts ?? 0;
  }

  /** Whole messages: text by number of the phone, in the order of their last segments. */
  get messages(): readonly { readonly to: string; readonly text: string; readonly id: string }[] {
    const parts = new Map<string, TakenSegment[]>();
    const whole: { to: string; text: string; id: string }[] = [];
    for (const segment of this.taken) {
      if (segment.place === undefined) {
        whole.push(segment);
        continue;
      }
      const [reference, total] = segment.place;
      const key = `${segment.to} ${reference} ${total}`;
      const known = [...(parts.get(key) ?? []), segment];
      parts.set(key, known);
      if (known.length < total) continue;
      parts.delete(key);
      known.sort((a, b) => a.place![2] - b.place![2]);
      whole.push({ to: segment.to, text: known.map(({ text }) => text).join(''), id: segment.id });
    }
    return whole;
  }

  /** Texts that came more than once to the same phone. */
  get twice(): readonly string[] {
    const keys = this.messages.map(({ to, text }) => `${to} ${text}`);
    return [...new Set(keys.filter((key, i) => keys.indexOf(key) !== i))];
  }

  get bound(): number {
    return this.#sessions.size;
  }

  attach(session: SmppSession): void {
    session.on('error', () => session.destroy());
    session.on('close', () => this.#sessions.delete(session));
    const bound = (pdu: SmppPdu): boolean => {
      if (!this.answering) return false;
      const { systemId, password } = this.#options;
      const known = (systemId ?? pdu.system_id) === pdu.system_id && (password ?? pdu.password) === pdu.password;
      if (!known || !this.binding || this.single) {
        session.send(pdu.response({ command_status: this.single ? smpp.ESME_RALYBND : smpp.ESME_RBINDFAIL }));
        session.close();
        return false;
      }
      session.send(pdu.response({ system_id: 'smsc', sc_interface_version: 0x34 }));
      return true;
    };
    session.on('bind_transmitter', (pdu) => {
      if (bound(pdu)) this.transmitters += 1;
    });
    session.on('bind_transceiver', (pdu) => {
      if (!bound(pdu)) return;
      this.binds += 1;
      this.#sessions.add(session);
    });
    session.on('enquire_link', (pdu) => {
      this.enquiries += 1;
      if (this.answering) session.send(pdu.response());
    });
    session.on('unbind', (pdu) => {
      this.unbinds += 1;
      session.send(pdu.response());
      session.close();
    });
    session.on('submit_sm', (pdu) => void this.#submit(session, pdu));
  }

  /** Sends a receipt for what has this id; resolves with the command_status of its answer. */
  receipt(id: string, stat: string, more: object = {}): Promise<number> {
    const segment = this.taken.find((one) => one.id === id);
    const [session] = this.#sessions;
    if (session === undefined) return Promise.reject(new Error('nobody is bound'));
    const written = this.receiptIdOf(id);
    const text = `id:${written} sub:001 dlvrd:001 submit date:2611291130 done date:2611291131 stat:${stat} err:000 text:`;
    const states = ['', 'ENROUTE', 'DELIVRD', 'EXPIRED', 'DELETED', 'UNDELIV', 'ACCEPTD', 'UNKNOWN', 'REJECTD'];
    return new Promise((resolve) => {
      session.deliver_sm(
        {
          esm_class: 4,
          source_addr: segment?.to ?? '989121234567',
          destination_addr: segment?.from ?? '98200',
          short_message: Buffer.from(text),
          ...(this.tlvs ? { receipted_message_id: written, message_state: states.indexOf(stat) } : {}),
          ...(this.givesReference ? { user_message_reference: segment?.reference } : {}),
          ...more,
        },
        ({ command_status: status }) => {
          this.receiptAnswers.push(status);
          resolve(status);
        },
      );
    });
  }

  /** Asks the client whether it lives; resolves with the command_status. */
  enquire(): Promise<number> {
    const [session] = this.#sessions;
    return new Promise((resolve) => session!.enquire_link({}, (pdu) => resolve(pdu.command_status)));
  }

  /** Cuts every connection. */
  cutAll(): void {
    for (const session of this.#sessions) session.socket.destroy();
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  async #submit(session: SmppSession, pdu: SmppPdu): Promise<void> {
    this.requests += 1;
    this.running += 1;
    this.runningMax = Math.max(this.runningMax, this.running);
    const segment = segmentOf(pdu, this.idOf(this.#next++));
    const behaviour = this.judge?.(segment) ?? this.behaviour;
    const takes = ['take', 'silent', 'cut'].includes(behaviour);
    if (takes) this.taken.push(segment);
    if (this.delayMs > 0) await sleep(this.delayMs);
    this.running -= 1;
    const statuses = { refuse: smpp.ESME_RINVDSTADR, throttle: smpp.ESME_RTHROTTLED, full: smpp.ESME_RMSGQFUL };
    if (behaviour === 'silent') return;
    if (behaviour === 'cut' || behaviour === 'drop') return session.socket.destroy();
    if (behaviour !== 'take') {
      session.send(pdu.response({ command_status: statuses[behaviour] }));
      return;
    }
    session.send(pdu.response({ message_id: segment.id }));
    if (!segment.registered) return;
    for (let i = 0; i < this.receipts; i += 1) void this.receipt(segment.id, 'DELIVRD');
  }
}

function segmentOf(pdu: SmppPdu, id: string): TakenSegment {
  const { message, udh } = pdu.short_message;
  const linked = udh?.[0];
  return {
    id,
    from: pdu.source_addr,
    to: pdu.destination_addr,
    text: String(message),
    dataCoding: pdu.data_coding,
    place: linked === undefined ? undefined : [linked[2]!, linked[3]!, linked[4]!],
    registered: (pdu.registered_delivery & 1) === 1,
    priority: pdu.priority_flag,
    validity: pdu.validity_period,
    reference: pdu.user_message_reference,
    atMs: performance.now(),
  };
}

/** Starts an SMSC on loopback; it ends with the test. */
export async function startSmsc(t: TestScope | undefined, options: SmscOptions = {}): Promise<Smsc> {
  let smsc: Smsc | undefined;
  const server = smpp.createServer((session) => smsc!.attach(session));
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen(options.port ?? 0, '127.0.0.1', done);
  });
  smsc = new Smsc(server, options);
  t?.onTestFinished(() => smsc.close());
  return smsc;
}
