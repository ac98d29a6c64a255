/**
 * Ledger: a client that knows the id of every event it sent and what it was told, and an audit of what a file holds. It is not
 * fast (that is wrk's part), it is exact: one request at a time per connection, an answer or a broken connection for each.
 *
 *   sent      every id that left
 *   stored    ids with a 2xx
 *   refused   429 or 503 with a promise that it was not taken (429), or unknown (503)
 */
import { createReadStream, existsSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Told {
  readonly sent: Set<string>;
  readonly stored: Set<string>;
  refused: number;
  unknown: number;
}

let serial = 0;
/** An id of UUID form (version 4) that no one else makes; cheap, and it shows its order. */
function nextId(): string {
  serial += 1;
  const digits = serial.toString(16).padStart(12, '0');
  return `${process.pid.toString(16).padStart(8, '0').slice(-8)}-0000-4000-8000-${digits}`;
}

export class LedgerClient {
  readonly told: Told = { sent: new Set(), stored: new Set(), refused: 0, unknown: 0 };
  readonly #port: number;
  readonly #padding: string;
  readonly #sockets = new Set<Socket>();
  #running = true;

  /** `padding`: bytes of one parameter, to make events larger. */
  constructor(port: number, connections = 16, padding = 200) {
    this.#port = port;
    this.#padding = 'x'.repeat(padding);
    for (let i = 0; i < connections; i++) this.#connect();
  }

  get stored(): number {
    return this.told.stored.size;
  }

  #connect(): void {
    const socket = createConnection({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#sockets.add(socket);
    let id = '';
    const ask = (): void => {
      if (!this.#running) {
        socket.end();
        return;
      }
      id = nextId();
      this.told.sent.add(id);
      socket.write(
        `GET /px.gif?e=ledger&event_id=${id}&url=https%3A%2F%2Fshop.example.com%2F&v=${this.#padding} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nCookie: sid=s_0123456789abcdef0123456789abcdef\r\n\r\n`,
      );
    };
    socket.on('connect', ask);
    socket.on('data', (chunk: Buffer) => {
      const status = Number(chunk.subarray(9, 12).toString('latin1'));
      if (status >= 200 && status < 300) this.told.stored.add(id);
      else if (status === 429) this.told.refused += 1;
      else this.told.unknown += 1;
      id = '';
      // A refused client comes back a little later, as Retry-After asks for.
      if (status === 429 || status === 503) setTimeout(ask, 5);
      else ask();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (id !== '') this.told.unknown += 1;
    });
  }

  /** Stops after the answers that are under way. */
  async end(): Promise<Told> {
    this.#running = false;
    for (const deadline = Date.now() + 10_000; this.#sockets.size > 0 && Date.now() < deadline; ) await sleep(5);
    for (const socket of this.#sockets) socket.destroy();
    return this.told;
  }
}

export interface Audit {
  /** Ids with a 2xx that are not in the file. */
  readonly lost: number;
  /** Ids that stand there more than once. */
  readonly doubled: number;
  /** Ids that nobody sent, and lines that are no event. */
  readonly invented: number;
}

/** Compares files with what the client was told. */
export async function audit(told: Told, files: readonly string[]): Promise<Audit> {
  const seen = new Set<string>();
  let doubled = 0;
  let invented = 0;
  for (const file of files.filter((path) => existsSync(path))) {
    for await (const line of createInterface({ input: createReadStream(file) })) {
      const id = eventId(line);
      if (id === undefined || !told.sent.has(id)) invented += 1;
      else if (seen.has(id)) doubled += 1;
      else seen.add(id);
    }
  }
  let lost = 0;
  for (const id of told.stored) if (!seen.has(id)) lost += 1;
  return { lost, doubled, invented };
}

function eventId(line: string): string | undefined {
  try {
    return (JSON.parse(line) as { event_id: string }).event_id;
  } catch {
    return undefined;
  }
}
