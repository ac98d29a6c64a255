/**
 * Answers of brokers, before anybody believes them. The library's Connection frames and parses them; here is what it
 * leaves unchecked.
 *
 * Always true, whatever bytes come: reading an answer ends after as many steps as it has bytes; no length or count in
 * it makes memory grow beyond the answer itself, which is at most ANSWER_BYTES_MAX; nothing is thrown into the event
 * loop. A connection whose answer cannot be read is closed, for nobody knows where its next answer begins. What was
 * asked fails with UNREADABLE_ANSWER and the verdict 'retry'.
 */
import type { Socket } from 'node:net';
import { Connection, Reader, ResponseError, type Writer } from '@platformatic/kafka';
import { KafkaFailure } from './failure.ts';

/**
 * Largest request that a broker takes by default (socket.request.max.bytes): no record batch of an answer is larger.
 */
const ANSWER_BYTES_MAX = 100 * 2 ** 20;
/** Every answer begins with the number of its request. */
const ANSWER_BYTES_MIN = 4;

export type Parser<T> = (correlationId: number, api: number, version: number, reader: Reader) => T;

/**
 * A parser that fails with UNREADABLE_ANSWER, however the bytes are wrong. An answer that names errors was readable.
 */
export function readable<T>(parser: Parser<T>): Parser<T> {
  return (correlationId, api, version, reader) => {
    try {
      return parser(correlationId, api, version, new AnswerReader(reader));
    } catch (error) {
      if (error instanceof ResponseError) throw error;
      throw unreadable(`api=${api}, version=${version}: ${(error as Error).message}`, error);
    }
  };
}

export const unreadable = (what: string, cause?: unknown): KafkaFailure =>
  new KafkaFailure('retry', 'UNREADABLE_ANSWER', `answer of the broker cannot be read: ${what}`, cause);

export class BrokerConnection extends Connection {
  /** Connects, and logs in when the options say so. */
  async open(host: string, port: number): Promise<void> {
    const opened = this.connect(host, port);
    const { socket } = this;
    // Registered behind the library's own listener, and before the first byte of an answer.
    socket?.once('encrypted' in socket ? 'secureConnect' : 'connect', () => guard(socket));
    await opened;
  }

  override send<T>(
    api: number,
    version: number,
    createPayload: () => Writer | Promise<Writer>,
    parser: Parser<T>,
    requestTags: boolean,
    answerTags: boolean,
    callback: (error: Error | null, payload?: T) => void,
  ): void {
    const answered = (error: Error | null, payload?: T) => {
      // An answer without a body fails in the library, before the parser is asked.
      const bodiless = (error as { code?: unknown } | null)?.code === 'OUT_OF_BOUNDS';
      const failure = bodiless ? unreadable(`api=${api}, version=${version}: it has no body`, error) : error;
      if (failure instanceof KafkaFailure) this.socket?.destroy(failure);
      callback(failure, payload);
    };
    super.send(api, version, createPayload, readable(parser), requestTags, answerTags, answered);
  }
}

/** The library's reader, which never goes backwards and never leaves the answer. */
class AnswerReader extends Reader {
  /** The answer in one piece: the library looks for each number through all pieces that the network has brought. */
  constructor(reader: Reader) {
    super(Reader.from(reader.buffer.buffer).buffer);
    this.position = reader.position;
  }

  override skip(length: number): this {
    if (length < 0 || length > this.remaining) throw new RangeError(`${length} bytes to skip, ${this.remaining} left`);
    return super.skip(length);
  }

  override readUnsignedVarInt(): number {
    const value = super.readUnsignedVarInt();
    if (value < 0) throw new RangeError(`a length must be below 2^31: ${value >>> 0}`);
    return value;
  }

  override readNullableString(compact?: boolean, encoding?: BufferEncoding): string | null {
    return this.#forwards(() => super.readNullableString(compact, encoding));
  }

  override readNullableBytes(compact?: boolean): Buffer | null {
    return this.#forwards(() => super.readNullableBytes(compact));
  }

  #forwards<T>(read: () => T): T {
    const { position } = this;
    const value = read();
    if (this.position < position) throw new RangeError(`a length must not be negative: at byte ${position}`);
    return value;
  }
}

/**
 * Puts itself between a socket and the library: what the library throws ends the connection instead of the thread, and
 * so does a length that no answer has, which the library would wait for.
 */
function guard(socket: Socket): void {
  const theirs = socket.listeners('data') as ((chunk: Buffer) => void)[];
  socket.removeAllListeners('data');
  const frames = new Frames();
  let first = true;
  socket.on('data', (chunk: Buffer) => {
    try {
      // The library knows the alert of a broker that wants TLS; here it would be a length.
      if (!(first && isTlsRecord(chunk))) frames.take(chunk);
      first = false;
      for (const listener of theirs) listener.call(socket, chunk);
    } catch (error) {
      socket.destroy(error instanceof KafkaFailure ? error : unreadable((error as Error).message, error));
    }
  });
}

const isTlsRecord = (chunk: Buffer): boolean => chunk[0]! >= 0x14 && chunk[0]! <= 0x17 && chunk[1] === 3;

/** Follows the frames of a stream: length u32, then so many bytes. */
class Frames {
  #left = 0;
  #length = 0;
  #lengthBytes = 0;

  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      this.#length = this.#length * 256 + chunk[at++]!;
      this.#lengthBytes += 1;
      if (this.#lengthBytes < 4) continue;
      const length = this.#length;
      this.#length = 0;
      this.#lengthBytes = 0;
      if (length < ANSWER_BYTES_MIN || length > ANSWER_BYTES_MAX)
        throw unreadable(`its length must be from ${ANSWER_BYTES_MIN} to ${ANSWER_BYTES_MAX}: ${length}`);
      this.#left = length;
    }
  }
}
