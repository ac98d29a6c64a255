/**
 * Liar: a proxy in front of a real broker that knows the frames of the protocol. It passes everything on until it is
 * told to lie: then it changes a request or an answer, or answers itself and tells the broker nothing. So a test gets
 * answers that no real broker gives on demand.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import type { TestScope } from '../../servers/process.ts';

export const api = {
  produce: 0,
  fetch: 1,
  listOffsets: 2,
  metadata: 3,
  commit: 8,
  offsets: 9,
  coordinator: 10,
  join: 11,
  heartbeat: 12,
  sync: 14,
  versions: 18,
  producerId: 22,
} as const;

export interface Request {
  readonly api: number;
  readonly version: number;
  /** The whole frame, with its length. */
  readonly frame: Buffer;
}

export interface Lie {
  /** The request as the broker gets it. */
  readonly request?: (frame: Buffer) => Buffer;
  /** What the client gets instead of the answer: bytes as they are, with or without a true length. */
  readonly answer?: (frame: Buffer) => Buffer;
  /** Body of an answer that the broker did not give; it does not get the request. */
  readonly instead?: Buffer;
}

export class Liar {
  /** Connections accepted so far. */
  accepted = 0;
  /** Lies told so far. */
  told = 0;
  /** Decides about each request. */
  lie: ((request: Request) => Lie | undefined) | undefined;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(target: number) {
    this.#target = target;
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  async listen(scope: TestScope, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
    scope.onTestFinished(() => {
      this.#server.close();
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  #accept(client: Socket): void {
    this.accepted += 1;
    const broker = createConnection({ port: this.#target, host: '127.0.0.1', noDelay: true });
    const lies = new Map<number, Lie>();
    for (const [socket, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    inFrames(client, (frame) => {
      const request = { api: frame.readInt16BE(4), version: frame.readInt16BE(6), frame };
      const id = frame.readInt32BE(8);
      const lie = this.lie?.(request);
      if (lie !== undefined) this.told += 1;
      if (lie?.instead !== undefined) {
        const head = Buffer.alloc(9); // length, number of the request, no tagged fields
        head.writeInt32BE(5 + lie.instead.length, 0);
        head.writeInt32BE(id, 4);
        client.write(Buffer.concat([head, lie.instead]));
        return;
      }
      if (lie !== undefined) lies.set(id, lie);
      broker.write(lie?.request?.(frame) ?? frame);
    });
    inFrames(broker, (frame) => {
      const lie = lies.get(frame.readInt32BE(4));
      lies.delete(frame.readInt32BE(4));
      client.write(lie?.answer?.(frame) ?? frame);
    });
  }
}

function inFrames(socket: Socket, take: (frame: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (let length = 0; rest.length >= 4; rest = rest.subarray(length)) {
      length = 4 + rest.readInt32BE(0);
      if (rest.length < length) return;
      take(rest.subarray(0, length));
    }
  });
}

/** Ways to spoil an answer: its frame has the length, the number of the request, then the body. */
export const spoilt: Readonly<Record<string, (frame: Buffer, random: () => number) => Buffer>> = {
  'cut short': (frame, random) => resized(frame.subarray(0, 9 + Math.floor(random() * (frame.length - 9)))),
  'without a body': (frame) => resized(frame.subarray(0, 8)),
  'random bytes': (frame, random) => filled(frame, () => Math.floor(random() * 256)),
  'lengths and counts of 2^31 and more': (frame) => filled(frame, () => 0xff),
  'lengths of 2^28': (frame) => filled(frame, (i) => (i % 4 === 3 ? 0x7f : 0xff)),
  'nothing but zeros': (frame) => filled(frame, () => 0),
  'a negative length': (frame) => withLength(frame, -9),
  'a length of 0': (frame) => withLength(frame, 0),
  'a length of 2 GiB': (frame) => withLength(frame, 2 ** 31 - 1),
  'another number': (frame) => {
    const other = Buffer.from(frame);
    other.writeInt32BE(frame.readInt32BE(4) + 77, 4);
    return other;
  },
  'bytes too many': (frame) => resized(Buffer.concat([frame, Buffer.alloc(1000, 0xff)])),
};

const filled = (frame: Buffer, byte: (i: number) => number): Buffer =>
  Buffer.from(frame.map((was, i) => (i < 9 ? was : byte(i))));

const resized = (frame: Buffer): Buffer => withLength(frame, frame.length - 4);

function withLength(frame: Buffer, length: number): Buffer {
  const other = Buffer.from(frame);
  other.writeInt32BE(length, 0);
  return other;
}
