/**
 * Load whose every event is known: event `n` is a function of its number, and a client owes it once a 2xx for it has arrived. Raw
 * sockets, one outstanding request each, or several (pipelined); a client whose connection goes opens another one.
 *
 *   issued   sent, perhaps never arrived
 *   owed     acknowledged: has to be in the file, exactly once, byte for byte
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname, extname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const UA = 'oracle';
/** Some are long, so that frames, pages and segments are filled unevenly. */
const padOf = (n: number): string => 'p'.repeat(n % 97 === 0 ? 3000 : n % 50);

/** Even numbers go by pixel, odd ones by /collect. */
function requestOf(n: number): string {
  if (n % 2 === 0)
    return `GET /px.gif?e=o&uid=u${n}&n=${n}&pad=${padOf(n)} HTTP/1.1\r\nHost: t\r\nUser-Agent: ${UA}\r\n\r\n`;
  const body = JSON.stringify({ e: 'o', uid: `u${n}`, props: { n, pad: padOf(n) } });
  return `POST /collect HTTP/1.1\r\nHost: t\r\nUser-Agent: ${UA}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** The end of the line that event `n` becomes, behind event_id and ts. */
function lineEnd(n: number): string {
  const pad = padOf(n);
  const props = n % 2 === 0 ? { n: String(n), pad } : { n, pad };
  return `"e":"o","uid":"u${n}","ua":"${UA}","ip":"127.0.0.1","props":${JSON.stringify(props)}}`;
}

const LINE =
  /^\{"event_id":"([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",(.*)$/;

/** What was sent, what was promised. */
export class Oracle {
  issued = 0;
  readonly owed = new Set<number>();
  /** Answers that were no 2xx, by status. */
  readonly refused = new Map<number, number>();
  /** Clients that send for this oracle. */
  readonly clients = new Set<Client>();

  /** Ends every client: one that a failed test leaves behind would send to the collector of the next test. */
  end(): void {
    for (const client of this.clients) client.cut();
  }

  /** Compares the lines with what was promised. `lossy`: ACK=memory, which may lose; returns how many are missing. */
  verify(lines: readonly string[], lossy = false): number {
    const found = new Set<number>();
    const ids = new Set<string>();
    for (const line of lines) {
      const match = LINE.exec(line);
      assert.ok(match, `a line is torn or strange: ${line.slice(0, 200)}`);
      const [, id, rest] = match as unknown as [string, string, string];
      const n = Number(/"uid":"u(\d+)"/.exec(rest)?.[1] ?? Number.NaN);
      assert.ok(n < this.issued, `event ${n} was never sent`);
      assert.equal(rest, lineEnd(n), `event ${n} is not what was sent`);
      assert.ok(!found.has(n), `event ${n} is there twice`);
      assert.ok(!ids.has(id), `event_id ${id} is there twice`);
      found.add(n);
      ids.add(id);
    }
    const missing = [...this.owed].filter((n) => !found.has(n));
    if (!lossy)
      assert.deepEqual(
        missing.slice(0, 10),
        [],
        `${missing.length} of ${this.owed.size} acknowledged events are missing`,
      );
    return missing.length;
  }
}

/**
 * Lines of a log file and of those it was rotated to. Half a line at the end is an error, but not while `unfinished`: a full disk leaves
 * one until the sink that waits for space writes the rest.
 */
export function linesOf(path: string, unfinished = false): string[] {
  const ending = extname(path);
  const stem = basename(path, ending);
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(stem) && (name.endsWith(ending) || name.endsWith(`${ending}.gz`)))
    .flatMap((name) => {
      const bytes = readFileSync(join(dirname(path), name));
      const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
      assert.ok(unfinished || text === '' || text.endsWith('\n'), `${name} ends in the middle of a line`);
      return text.split('\n').slice(0, -1);
    });
}

/** A client that a failed test has left behind gives up when nobody has listened for so long, ms: its file must end. */
const GIVE_UP_MS = 60_000;

/** One connection after another, `depth` requests outstanding on it. */
export class Client {
  readonly #oracle: Oracle;
  readonly #port: number;
  readonly #depth: number;
  #socket: Socket | undefined;
  #waiting: number[] = [];
  #input = '';
  #stopped = false;
  #aloneSince = performance.now();
  readonly #pauseMs: number;
  #idle: (() => void) | undefined;
  /** Milliseconds from request to 2xx, when asked for. */
  acked = 0;

  constructor(oracle: Oracle, port: number, depth = 1, pauseMs = 0) {
    this.#oracle = oracle;
    oracle.clients.add(this);
    this.#port = port;
    this.#depth = depth;
    this.#pauseMs = pauseMs;
    this.#connect();
  }

  #connect(): void {
    if (this.#stopped) return;
    this.#waiting = [];
    this.#input = '';
    const socket = connect(this.#port, '127.0.0.1');
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('connect', () => {
      this.#aloneSince = Number.POSITIVE_INFINITY;
      this.#send();
    });
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#waiting = [];
      this.#idle?.();
      const now = performance.now();
      this.#aloneSince = Math.min(this.#aloneSince, now);
      if (now - this.#aloneSince > GIVE_UP_MS) this.#stopped = true;
      if (!this.#stopped) setTimeout(() => this.#connect(), 20);
    });
  }

  #send(): void {
    let text = '';
    while (!this.#stopped && this.#waiting.length < this.#depth) {
      const n = this.#oracle.issued++;
      this.#waiting.push(n);
      text += requestOf(n);
    }
    if (text !== '') this.#socket?.write(text);
  }

  #take(text: string): void {
    this.#input += text;
    for (;;) {
      const head = this.#input.indexOf('\r\n\r\n');
      if (head < 0) break;
      const length = Number(/content-length: (\d+)/i.exec(this.#input.slice(0, head))?.[1] ?? 0);
      if (this.#input.length < head + 4 + length) break;
      const status = Number(this.#input.slice(9, 12));
      this.#input = this.#input.slice(head + 4 + length);
      const n = this.#waiting.shift();
      assert.ok(n !== undefined, 'an answer without a request');
      if (status >= 200 && status < 300) {
        this.#oracle.owed.add(n);
        this.acked += 1;
      } else this.#oracle.refused.set(status, (this.#oracle.refused.get(status) ?? 0) + 1);
    }
    if (this.#waiting.length === 0) this.#idle?.();
    if (this.#stopped) return;
    if (this.#pauseMs > 0) setTimeout(() => this.#send(), this.#pauseMs);
    else this.#send();
  }

  /** Sends nothing more, waits for what is outstanding, and closes. */
  async finish(): Promise<void> {
    this.#stopped = true;
    if (this.#waiting.length > 0 && this.#socket?.destroyed === false)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    this.#socket?.destroy();
  }

  /** Closes at once; what is outstanding is neither promised nor refused. */
  cut(): void {
    this.#stopped = true;
    this.#socket?.destroy();
  }
}

/** One event on a connection of its own; whether it was acknowledged. */
export async function sendOne(oracle: Oracle, port: number): Promise<number> {
  const n = oracle.issued++;
  const owed = await new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(requestOf(n)));
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (!text.includes('\r\n\r\n')) return;
      resolve(/^HTTP\/1.1 2/.test(text));
      socket.destroy();
    });
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
  });
  if (owed) oracle.owed.add(n);
  return owed ? n : -1;
}
