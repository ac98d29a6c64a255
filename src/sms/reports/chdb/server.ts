/**
 * Server: chdb behind the HTTP interface of ClickHouse, on a loopback port; a process of its own, so that neither a
 * fault of the engine nor its memory is one of the threads that accept messages. It ends with the process that started
 * it (the channel between them closes, whatever ended it).
 *
 *   POST /?database=&query=INSERT INTO t FORMAT JSONEachRow&<setting>=   the body is the rows
 *   POST /?database=&param_<name>=&wait_end_of_query=1                   the body is a statement, answered whole;
 *                                                                        of a SELECT the settings hold as well
 *   POST /?database=&param_<name>=                                       the body is a SELECT, streamed
 *   OPTIONS /                                                            204
 *
 * Errors are answered as ClickHouse answers them: X-ClickHouse-Exception-Code, 404 for what does not exist, 400 for
 * what cannot be read, 500 for the rest. A stream that fails under way is cut off.
 *
 * The folder has one owner: a lock on a file in it, which the kernel drops with the process.
 */
import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { lockFile } from '../../../kernel/file-lock.ts';
import { textOf } from '../../../kernel/place.ts';
import type { Chdb, ChdbSession, ServerOrder, ServerSays } from './contract.ts';
import { chdbIn } from './library.ts';
import { Sessions } from './sessions.ts';

const BODY_BYTES_MAX = 128 * 1024 * 1024;
const INSERT = /^\s*INSERT\s+INTO\s+([\w.]+)\s+FORMAT\s+JSONEachRow\s*$/i;
/** Beside these, what a URL has is a setting. The last two say of answers what is so here anyway. */
const NO_SETTING =
  /^(?:query|database|wait_end_of_query|output_format_json_quote_64bit_integers|http_write_exception_in_output_format)$|^param_/;
/** A SELECT as the client sends it: settings may stand behind its format. */
const FORMATTED = /\sFORMAT\s+\w+\s*$/;
const NUMBER = /^-?\d+$/;

/** Codes of ClickHouse that its HTTP interface answers with 400 and 404 (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp). */
const unreadable = new Set([6, 26, 27, 38, 41, 43, 53, 62, 69, 70, 72, 117, 130, 131, 349, 456, 457]);
const missing = new Set([46, 47, 60, 81, 115]);

const codeOf = (text: string): number => Number(/Code: (\d+)/.exec(text)?.[1] ?? 0);
const statusOf = (code: number): number => (missing.has(code) ? 404 : unreadable.has(code) ? 400 : 500);

class Server {
  readonly #sessions: Sessions;
  readonly #authorization: Buffer;

  constructor(sessions: Sessions, authorization: string) {
    this.#sessions = sessions;
    this.#authorization = Buffer.from(authorization);
  }

  async answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.method === 'OPTIONS') {
      res.writeHead(204).end();
      return;
    }
    if (!this.#mayAsk(req)) {
      res.writeHead(403).end('the request must have the login of this server\n');
      return;
    }
    try {
      const body = await bodyOf(req);
      const search = new URL(req.url ?? '/', 'http://chdb').searchParams;
      await this.#sessions.use((session) => this.#run(session, search, body, res));
    } catch (error) {
      fail(res, textOf(error));
    }
  }

  #mayAsk({ headers }: IncomingMessage): boolean {
    const given = Buffer.from(headers.authorization ?? '');
    return given.length === this.#authorization.length && timingSafeEqual(given, this.#authorization);
  }

  async #run(session: ChdbSession, search: URLSearchParams, body: Buffer, res: ServerResponse): Promise<void> {
    const query = search.get('query');
    const [, table] = INSERT.exec(query ?? '') ?? [];
    if (table !== undefined) {
      const settings = Object.fromEntries(settingsOf(search));
      await session.insert({ table, values: body, format: 'JSONEachRow', settings });
      res.end();
      return;
    }
    const sql = query === null ? body.toString('utf8') : `${query}\n${body.toString('utf8')}`;
    if (search.get('wait_end_of_query') === '1') {
      const result = await session.queryBindAsync(bounded(sql, search), paramsOf(search), { format: 'TabSeparated' });
      res.end(result.bytes());
    } else await stream(session, sql, paramsOf(search), res);
  }
}

const settingsOf = (search: URLSearchParams): [name: string, value: string][] =>
  [...search].filter(([name]) => !NO_SETTING.test(name));

/** chdb takes settings in the statement alone. */
function bounded(sql: string, search: URLSearchParams): string {
  const settings = settingsOf(search).filter(([name, value]) => /^\w+$/.test(name) && NUMBER.test(value));
  if (settings.length === 0 || !FORMATTED.test(sql)) return sql;
  return `${sql} SETTINGS ${settings.map(([name, value]) => `${name} = ${value}`).join(', ')}`;
}

/** What the client escaped, as TSV, is a value again. */
function paramsOf(search: URLSearchParams): Record<string, string> {
  const plain: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', 0: '\0' };
  const found: Record<string, string> = {};
  for (const [name, value] of search) {
    if (name.startsWith('param_'))
      found[name.slice('param_'.length)] = value.replaceAll(/\\(.)/gs, (_, letter: string) => plain[letter] ?? letter);
  }
  return found;
}

async function stream(session: ChdbSession, sql: string, params: object, res: ServerResponse): Promise<void> {
  const pieces = session.queryStreamBind(sql, params, { format: 'TabSeparated' });
  try {
    for await (const piece of pieces) {
      if (res.destroyed) break;
      // A copy: the engine's memory goes with its piece, and the socket may still hold it.
      if (!res.write(Buffer.from(piece.raw()))) await Promise.race([once(res, 'drain'), once(res, 'close')]);
    }
    res.end();
  } finally {
    pieces.cancel();
  }
}

async function bodyOf(req: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of req as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > BODY_BYTES_MAX)
      throw new Error(`Code: 396. DB::Exception: a body must be at most ${BODY_BYTES_MAX} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function fail(res: ServerResponse, text: string): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const code = codeOf(text);
  res.writeHead(statusOf(code), { 'x-clickhouse-exception-code': String(code) }).end(`${text}\n`);
}

const say = (said: ServerSays): void => void process.send?.(said);

async function serve({ library, data, port, authorization, database }: ServerOrder): Promise<void> {
  mkdirSync(data, { recursive: true });
  const owner = join(data, 'owner.lock');
  closeSync(openSync(owner, 'a'));
  if (lockFile(owner) === undefined) {
    say({ failed: `CLICKHOUSE_DIR must belong to one process; another one has it: ${data}`, owned: true });
    return;
  }
  const load = chdbIn(library);
  if (load === undefined) throw new Error(`CHDB_DIR must hold chdb: ${library}`);
  const { Session } = load('chdb') as Chdb;
  const path = join(data, 'store');
  const sessions = new Sessions(async () => {
    const session = new Session(path);
    await session.queryAsync(`CREATE DATABASE IF NOT EXISTS ${database}`);
    await session.queryAsync(`USE ${database}`);
    return session;
  });
  await sessions.use(async (session) => session.queryAsync('SELECT 1'));
  const server = new Server(sessions, authorization);
  const http = createServer((req, res) => void server.answer(req, res));
  http.keepAliveTimeout = 60_000;
  http.listen(port, '127.0.0.1');
  await once(http, 'listening');
  say({ ready: true });
}

// An end in order takes the engine seconds. What was answered is on the disk, and the rest comes again.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
process.once('message', (order) => {
  serve(order as ServerOrder).catch((error: unknown) => say({ failed: textOf(error), owned: false }));
});
// Ctrl-C in a terminal reaches the whole group: who started this process ends it, after the last batch.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
