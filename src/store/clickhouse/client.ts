/**
 * Client of ClickHouse over its HTTP interface (https://clickhouse.com/docs/interfaces/http), on undici.
 *
 *   values   never stand in the SQL: `{name:Type}` in it is filled by the server from `params`
 *   bounds   each query has a time; an answer that is read whole has a size. A stream is as long as it is, and holds
 *            one piece: the server waits when nobody reads
 *   errors   ClickHouseError with the server's code, ClickHouseAway for everything between. Their texts name host and
 *            port, never the login
 *   streams  the server has answered 200 before the last row is made. What breaks it then ends the stream with an
 *            error: servers from 25.11 on write a block that begins with `__exception__`, older ones cut the connection.
 *            Before 25.11 an exception in JSONEachRow would be a row of its own, and the answer would look whole:
 *            http_write_exception_in_output_format=0
 */
import { readFileSync } from 'node:fs';
import { type Dispatcher, Pool } from 'undici';
import { reasonAt } from '../../kernel/place.ts';
import { ClickHouseAway, ClickHouseError } from './errors.ts';
import { type ClickHousePlace, type Login, loginOf } from './login.ts';

export type Params = Readonly<Record<string, string | number>>;

export interface Asked {
  readonly params?: Params;
  /** Settings of ClickHouse for this query. */
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;
const REASON_CHARS = 400;
const CONNECT_MS = 5000;
/** The block of an exception is at most so long. */
const TAIL_BYTES = 32 * 1024;
const EXCEPTION = '__exception__';

export class ClickHouse {
  readonly #login: Login;
  readonly #pool: Pool;

  constructor({ url, ca, connections = 8 }: ClickHousePlace) {
    this.#login = loginOf(url);
    this.#pool = new Pool(this.#login.origin, {
      connections,
      connect: { timeout: CONNECT_MS, ...(ca === undefined ? {} : { ca: readFileSync(ca) }) },
    });
  }

  get place(): string {
    return this.#login.place;
  }

  get database(): string {
    return this.#login.database;
  }

  /** Rows of a SELECT without FORMAT. */
  async rows<T>(sql: string, asked: Asked = {}): Promise<readonly T[]> {
    const text = await this.#whole(`${sql} FORMAT JSONEachRow`, asked, {
      output_format_json_quote_64bit_integers: 0,
    });
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as T);
  }

  /** Runs a statement that answers nothing. */
  async command(sql: string, asked: Asked = {}): Promise<void> {
    await this.#whole(sql, asked, {});
  }

  /** Bytes of the answer to a SELECT with its FORMAT, as the server makes them. Leaving the loop ends the query. */
  async *stream(sql: string, asked: Asked = {}): AsyncGenerator<Buffer> {
    const { body, headers } = await this.#send(sql, asked, {}, 0);
    const tag = headers['x-clickhouse-exception-tag'];
    let tail: Buffer = Buffer.alloc(0);
    try {
      for await (const piece of body as AsyncIterable<Buffer>) {
        tail =
          piece.length >= TAIL_BYTES ? piece.subarray(-TAIL_BYTES) : Buffer.concat([tail, piece]).subarray(-TAIL_BYTES);
        if (typeof tag === 'string' && piece.length > 0) this.#mustBeWhole(tail, tag);
        yield piece;
      }
    } catch (error) {
      throw this.#away(error);
    } finally {
      body.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  #mustBeWhole(tail: Buffer, tag: string): void {
    const begin = tail.indexOf(`${EXCEPTION}\r\n${tag}`);
    if (begin < 0) return;
    const text = tail.toString('utf8', begin + EXCEPTION.length + tag.length + 4);
    throw new ClickHouseError(this.place, codeIn(text), 200, shorten(text));
  }

  async #whole(sql: string, asked: Asked, settings: Params): Promise<string> {
    const { timeoutMs = TIMEOUT_MS } = asked;
    const { body } = await this.#send(sql, asked, { ...settings, wait_end_of_query: 1 }, timeoutMs);
    try {
      return await this.#read(body);
    } catch (error) {
      throw this.#away(error);
    }
  }

  async #send(
    sql: string,
    { params = {}, settings = {}, timeoutMs = TIMEOUT_MS, signal }: Asked,
    more: Params,
    bodyTimeout: number,
  ): Promise<Dispatcher.ResponseData> {
    const search = new URLSearchParams({
      database: this.#login.database,
      http_write_exception_in_output_format: '0',
    });
    for (const [name, value] of Object.entries({ ...more, ...settings })) search.set(name, String(value));
    for (const [name, value] of Object.entries(params)) search.set(`param_${name}`, escaped(String(value)));
    const { authorization } = this.#login;
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.#pool.request({
        method: 'POST',
        path: `/?${search}`,
        body: sql,
        headers: authorization === undefined ? {} : { authorization },
        headersTimeout: timeoutMs,
        bodyTimeout,
        signal: signal ?? null,
      });
    } catch (error) {
      throw this.#away(error);
    }
    if (answer.statusCode === 200) return answer;
    const text = await this.#read(answer.body).catch(() => '');
    const code = Number(answer.headers['x-clickhouse-exception-code'] ?? 0) || codeIn(text);
    throw new ClickHouseError(this.place, code, answer.statusCode, shorten(text));
  }

  async #read(body: Dispatcher.ResponseData['body']): Promise<string> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of body as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > ANSWER_BYTES_MAX) throw new Error(`an answer must be at most ${ANSWER_BYTES_MAX} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString('utf8');
  }

  #away(error: unknown): Error {
    if (error instanceof ClickHouseError || error instanceof ClickHouseAway) return error;
    const cause = error instanceof Error ? error : new Error(String(error));
    return new ClickHouseAway(`ClickHouse cannot be asked: ${reasonAt(cause, [this.place])}`, { cause });
  }
}

/** A parameter is read as TSV: https://clickhouse.com/docs/interfaces/http#tabs-in-url-parameters */
const escaped = (value: string): string =>
  value
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\0', '\\0');

const codeIn = (text: string): number => Number(/Code: (\d+)/.exec(text)?.[1] ?? 0);
const shorten = (text: string): string => text.replaceAll(/\s+/g, ' ').trim().slice(0, REASON_CHARS);
