/**
 * PDU: what is sent over an SMPP connection. Written after "Short Message Peer to Peer Protocol Specification v3.4,
 * Issue 1.2" (sections 3.2, 4, 5); only what a transceiver that submits and takes receipts needs.
 *
 *   byte  0  command_length   u32, the whole PDU
 *         4  command_id       u32, the highest bit: a response
 *         8  command_status   u32, 0 in requests
 *        12  sequence_number  u32, 1 to 0x7fffffff
 *        16  body             C-octet strings end with a NUL; then TLVs: tag u16, length u16, value
 *
 * The package `smpp` on npm is not used here: it stands still on a PDU that is shorter than its head, keeps requests
 * without an answer for ever, and has no types. Tests run its server against this code.
 */
export const HEAD_BYTES = 16;
/** Larger than any PDU that may come: a body with message_payload TLVs of a few KiB. */
export const PDU_BYTES_MAX = 16 * 1024;

export const Command = {
  GENERIC_NACK: 0x80000000,
  BIND_TRANSMITTER: 0x00000002,
  SUBMIT_SM: 0x00000004,
  DELIVER_SM: 0x00000005,
  UNBIND: 0x00000006,
  BIND_TRANSCEIVER: 0x00000009,
  ENQUIRE_LINK: 0x00000015,
} as const;
export const RESPONSE = 0x80000000;

/** command_status (5.1.3). */
export const Status = {
  OK: 0,
  INVALID_COMMAND: 0x03,
  ALREADY_BOUND: 0x05,
  MESSAGE_QUEUE_FULL: 0x14,
  THROTTLED: 0x58,
  TEMPORARY_ERROR: 0x64,
  PERMANENT_ERROR: 0x65,
} as const;

export const Tag = {
  RECEIPTED_MESSAGE_ID: 0x001e,
  USER_MESSAGE_REFERENCE: 0x0204,
  SC_INTERFACE_VERSION: 0x0210,
  MESSAGE_PAYLOAD: 0x0424,
  MESSAGE_STATE: 0x0427,
} as const;

/** esm_class: the body begins with a user data header; the type is a delivery receipt (bits 5 to 2). */
export const ESM_UDHI = 0x40;
export const ESM_TYPE_MASK = 0x3c;
export const ESM_RECEIPT = 0x04;

export interface Pdu {
  readonly command: number;
  readonly status: number;
  readonly sequence: number;
  /** A view of what was received: valid as long as that buffer. */
  readonly body: Buffer;
}

export interface Bind {
  readonly systemId: string;
  readonly password: string;
  readonly systemType: string;
}

/** An address: type of number, numbering plan, digits or letters. */
export interface Address {
  readonly ton: number;
  readonly npi: number;
  readonly text: string;
}

export interface SubmitSm {
  readonly source: Address;
  readonly destination: Address;
  readonly esmClass: number;
  /** 0 to 3. */
  readonly priority: number;
  /** Relative time of 7.1.1, or ''. */
  readonly validity: string;
  /** Ask for a receipt of the final state. */
  readonly receipt: boolean;
  readonly dataCoding: number;
  /** At most 254 octets. */
  readonly message: Buffer;
  readonly userMessageReference: number;
}

export interface DeliverSm {
  readonly source: string;
  readonly destination: string;
  readonly esmClass: number;
  readonly dataCoding: number;
  readonly message: Buffer;
  readonly tlvs: ReadonlyMap<number, Buffer>;
}

const cString = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1');
const octets = (...values: readonly number[]): Buffer => Buffer.from(values);
const address = ({ ton, npi, text }: Address): readonly Buffer[] => [octets(ton, npi), cString(text)];

export function encodePdu(command: number, sequence: number, status = 0, body: readonly Buffer[] = []): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  const pdu = Buffer.concat([head, ...body]);
  pdu.writeUInt32BE(pdu.length, 0);
  pdu.writeUInt32BE(command, 4);
  pdu.writeUInt32BE(status, 8);
  pdu.writeUInt32BE(sequence, 12);
  return pdu;
}

const INTERFACE_VERSION = 0x34;

export const bindBody = ({ systemId, password, systemType }: Bind): readonly Buffer[] => [
  cString(systemId),
  cString(password),
  cString(systemType),
  // No range of addresses: everything that is for this system_id.
  octets(INTERFACE_VERSION, 0, 0),
  cString(''),
];

export function submitBody(submit: SubmitSm): readonly Buffer[] {
  const { message } = submit;
  if (message.length > 254)
    throw new RangeError(`short_message has at most 254 octets (SMPP 3.4, 4.4.1): found=${message.length}`);
  const reference = Buffer.alloc(6);
  reference.writeUInt16BE(Tag.USER_MESSAGE_REFERENCE, 0);
  reference.writeUInt16BE(2, 2);
  reference.writeUInt16BE(submit.userMessageReference, 4);
  return [
    cString(''),
    ...address(submit.source),
    ...address(submit.destination),
    octets(submit.esmClass, 0, submit.priority),
    cString(''),
    cString(submit.validity),
    octets(submit.receipt ? 1 : 0, 0, submit.dataCoding, 0, message.length),
    message,
    reference,
  ];
}

/** message_id of a submit_sm_resp; '': there is none. */
export const submittedId = (body: Buffer): string => new Fields(body).cString();

/** What an SMSC says of itself in the answer to a bind. */
export interface Bound {
  readonly systemId: string;
  /** 0x34 is SMPP 3.4; undefined: it does not say. */
  readonly version: number | undefined;
}

export function readBound(body: Buffer): Bound {
  const fields = new Fields(body);
  const systemId = fields.cString();
  return { systemId, version: fields.tlvs().get(Tag.SC_INTERFACE_VERSION)?.[0] };
}

/** Throws a RangeError for a body that ends too early. */
export function readDeliver(body: Buffer): DeliverSm {
  const fields = new Fields(body);
  fields.cString(); // service_type
  fields.skip(2);
  const source = fields.cString();
  fields.skip(2);
  const destination = fields.cString();
  const esmClass = fields.octet();
  fields.skip(2); // protocol_id, priority_flag
  fields.cString(); // schedule_delivery_time
  fields.cString(); // validity_period
  fields.skip(2); // registered_delivery, replace_if_present_flag
  const dataCoding = fields.octet();
  fields.skip(1); // sm_default_msg_id
  const short = fields.bytes(fields.octet());
  const tlvs = fields.tlvs();
  return { source, destination, esmClass, dataCoding, message: tlvs.get(Tag.MESSAGE_PAYLOAD) ?? short, tlvs };
}

/** Reads a body from its begin. */
class Fields {
  readonly #body: Buffer;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  octet(): number {
    return this.bytes(1)[0]!;
  }

  skip(count: number): void {
    this.bytes(count);
  }

  bytes(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#body.length)
      throw new RangeError(`the body of the PDU ends too early: bytes=${this.#body.length}, needed=${end}`);
    const found = this.#body.subarray(this.#at, end);
    this.#at = end;
    return found;
  }

  /** A string whose NUL is missing ends with the body: some servers leave out that of the last field. */
  cString(): string {
    const nul = this.#body.indexOf(0, this.#at);
    const end = nul < 0 ? this.#body.length : nul;
    const text = this.#body.toString('latin1', this.#at, end);
    this.#at = Math.min(this.#body.length, end + 1);
    return text;
  }

  tlvs(): ReadonlyMap<number, Buffer> {
    const found = new Map<number, Buffer>();
    while (this.#at + 4 <= this.#body.length) {
      const tag = this.#body.readUInt16BE(this.#at);
      const length = this.#body.readUInt16BE(this.#at + 2);
      this.skip(4);
      found.set(tag, this.bytes(length));
    }
    return found;
  }
}

/** Cuts a stream into PDUs. */
export class PduReader {
  #kept: Buffer = Buffer.alloc(0);

  /** The PDUs that are whole now. Throws a RangeError for a length that no PDU has: the stream cannot be read on. */
  take(chunk: Buffer): readonly Pdu[] {
    let bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    const pdus: Pdu[] = [];
    while (bytes.length >= 4) {
      const length = bytes.readUInt32BE(0);
      if (length < HEAD_BYTES || length > PDU_BYTES_MAX)
        throw new RangeError(`a PDU must have ${HEAD_BYTES} to ${PDU_BYTES_MAX} bytes: found=${length}`);
      if (bytes.length < length) break;
      pdus.push({
        command: bytes.readUInt32BE(4),
        status: bytes.readUInt32BE(8),
        sequence: bytes.readUInt32BE(12),
        body: bytes.subarray(HEAD_BYTES, length),
      });
      bytes = bytes.subarray(length);
    }
    this.#kept = bytes;
    return pdus;
  }
}
