/**
 * Errors: one row per thing that can go wrong; nothing else in Ringmain makes up a code.
 *
 *   status  HTTP status when it reaches a client        retry  the same call may succeed later, unchanged
 *   title   what the code means, the same every time    text   what must hold, then what was found this time
 *   exit    exit code when it ends the process          shown  the client may read text and fields (else it gets INTERNAL)
 *
 *   throw errors.BODY_TOO_LARGE({ bytes, limit });          errors.SINK_WRITE({ sink, reason }, cause)
 *
 * Code branches on `code` and `retry`, never on text. Codes are stable: clients and alerts hold on to them. Maps over codes are
 * `Record<ErrorCode, ...>`, so a new row does not compile until every map knows it. On the hot path refusal is a value, not one
 * of these: `problemOf(code, fields)` makes the answer without making an Error.
 */

import { markdownTable } from './markdown.ts';

/** Exit codes of the process (sysexits.h): what an operator or a service manager may branch on. */
export const exitCodes = { ok: 0, usage: 64, internal: 70, config: 78 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

type Fields = Readonly<Record<string, unknown>>;

interface Row<F extends Fields> {
  readonly status: number;
  readonly retry: boolean;
  readonly title: string;
  readonly text: (fields: F) => string;
  readonly exit: ExitCode;
  readonly shown: boolean;
}

/** A row whose text and fields the client may read: they speak of the client's own request. */
function answer<F extends Fields>(status: number, retry: boolean, title: string, text: (fields: F) => string): Row<F> {
  return { status, retry, title, text, exit: exitCodes.internal, shown: true };
}

/** A row about our own inside (disk, sink, thread): it goes to the log; a client that meets it reads INTERNAL. */
function inside<F extends Fields>(
  retry: boolean,
  title: string,
  text: (fields: F) => string,
  exit: ExitCode = exitCodes.internal,
): Row<F> {
  return { status: retry ? 503 : 500, retry, title, text, exit, shown: false };
}

interface Reason extends Fields {
  readonly reason: string;
}
interface Limit extends Fields {
  readonly bytes: number;
  readonly limit: number;
}
interface AtPath extends Fields {
  readonly path: string;
  readonly reason: string;
}
interface AtSink extends Fields {
  readonly sink: string;
  readonly reason: string;
}

const rows = {
  // What a client sent.
  BAD_REQUEST: answer(400, false, 'The request is not well-formed HTTP', (f: Reason) => f.reason),
  INVALID_JSON: answer(
    400,
    false,
    'The body is not valid JSON',
    (f: { offset: number; reason: string }) => `body must be valid JSON: ${f.reason} at byte ${f.offset}`,
  ),
  INVALID_BODY: answer(
    400,
    false,
    'The body holds no event',
    (f: { found: string }) => `body must be an event object or an array of them: found=${f.found}`,
  ),
  INVALID_EVENT: answer(
    400,
    false,
    'An event is not valid',
    (f: { field: string; must: string; found: string }) => `${f.field} must be ${f.must}: found=${f.found}`,
  ),
  NO_VALID_EVENT: answer(
    400,
    false,
    'No event of the batch is valid',
    (f: { rejected: number }) => `at least one event must be valid: rejected=${f.rejected}`,
  ),
  ORIGIN_FORBIDDEN: answer(
    403,
    false,
    'The origin is not allowed',
    (f: { origin: string }) => `origin must be one of CORS_ORIGINS: origin=${f.origin}`,
  ),
  NOT_FOUND: answer(404, false, 'There is no such route', (f: { path: string }) => `no such route: path=${f.path}`),
  METHOD_NOT_ALLOWED: answer(
    405,
    false,
    'The route does not take this method',
    (f: { method: string; allow: string }) => `method must be one of ${f.allow}: method=${f.method}`,
  ),
  BODY_TIMEOUT: answer(
    408,
    true,
    'The body came too slowly',
    (f: { bytes: number; limitMs: number }) => `body must arrive within ${f.limitMs} ms: bytes=${f.bytes}`,
  ),
  BODY_TOO_LARGE: answer(
    413,
    false,
    'The body is too large',
    (f: Limit) => `body exceeds the limit: bytes=${f.bytes}, limit=${f.limit}`,
  ),
  EVENT_TOO_LARGE: answer(
    413,
    false,
    'An event is too large',
    (f: Limit) => `event exceeds the limit: bytes=${f.bytes}, limit=${f.limit}`,
  ),
  BATCH_TOO_LARGE: answer(
    413,
    false,
    'The batch is too large',
    (f: Limit) => `batch exceeds the limit: bytes=${f.bytes}, limit=${f.limit}`,
  ),
  UNSUPPORTED_MEDIA_TYPE: answer(
    415,
    false,
    'The content type is not taken',
    (f: { type: string }) => `content type must be application/json or text/plain: type=${f.type}`,
  ),
  UNSUPPORTED_ENCODING: answer(
    415,
    false,
    'The content encoding is not taken',
    (f: { encoding: string }) => `content encoding must be identity, gzip, deflate or br: encoding=${f.encoding}`,
  ),
  INVALID_ENCODING: answer(
    400,
    false,
    'The body is not what its content encoding says',
    (f: { encoding: string }) => `body must decompress: encoding=${f.encoding}`,
  ),
  BACKPRESSURE: answer(
    429,
    true,
    'There is no room for events now',
    (f: Reason) => `nothing was stored, send it again later: reason=${f.reason}`,
  ),

  // What we could not do.
  ANSWER_TIMEOUT: answer(
    503,
    true,
    'The answer took too long',
    (f: { limitMs: number }) => `answer must be ready in time: limitMs=${f.limitMs}`,
  ),
  INTERNAL: answer(500, false, 'Something went wrong on our side', () => 'the request was not completed'),
  WRITE_UNKNOWN: answer(
    503,
    true,
    'It is unknown whether the events were stored',
    (f: Reason) => `the outcome is unknown, sending again may store twice: reason=${f.reason}`,
  ),

  // What ends a start: one clear line each.
  CONFIG: inside(
    false,
    'The configuration is not valid',
    (f: { problems: readonly string[] }) => f.problems.join('\n'),
    exitCodes.config,
  ),
  USAGE: inside(false, 'The command line is not understood', (f: Reason) => f.reason, exitCodes.usage),
  PORT_IN_USE: inside(
    false,
    'The port is taken',
    (f: { address: string }) => `port must be free: address=${f.address}`,
    exitCodes.config,
  ),
  THREAD_DIED: inside(
    true,
    'A thread ended',
    (f: { thread: string; reason: string }) => `thread ended: thread=${f.thread}, reason=${f.reason}`,
  ),

  // The journal.
  JOURNAL_LOCKED: inside(
    false,
    'Another process has the journal',
    (f: { path: string }) => `journal must belong to one process: path=${f.path} is locked by another`,
    exitCodes.config,
  ),
  JOURNAL_FORMAT: inside(
    false,
    'The journal has an unknown format',
    (f: { path: string; expected: string | number; found: string | number }) =>
      `journal format must be ${f.expected}: path=${f.path}, found=${f.found}; nothing was changed`,
    exitCodes.config,
  ),
  JOURNAL_DAMAGED: inside(
    false,
    'Bytes of the journal are damaged',
    (f: { path: string; position: number | bigint; bytes: number; reason: string }) =>
      `journal frame is damaged: path=${f.path}, position=${f.position}, bytes=${f.bytes}, reason=${f.reason}`,
  ),
  JOURNAL_OPEN: inside(
    false,
    'The journal cannot be opened',
    (f: AtPath) => `journal cannot be opened: path=${f.path}, reason=${f.reason}`,
    exitCodes.config,
  ),
  JOURNAL_WRITE: inside(
    true,
    'A write to the journal failed',
    (f: AtPath) => `journal write failed: path=${f.path}, reason=${f.reason}`,
  ),
  JOURNAL_SYNC: inside(
    false,
    'A sync of the journal failed',
    (f: AtPath) => `journal sync failed: path=${f.path}, reason=${f.reason}`,
  ),
  JOURNAL_RANGE: inside(
    false,
    'The journal no longer holds this position',
    (f: { lane: string; position: number | bigint; oldest: number | bigint }) =>
      `position must still be in the journal: lane=${f.lane}, position=${f.position}, oldest=${f.oldest}`,
  ),
  CHECKPOINT_WRITE: inside(
    true,
    'A checkpoint could not be made durable',
    (f: AtPath) => `checkpoint write failed: path=${f.path}, reason=${f.reason}`,
  ),

  // Sinks.
  SINK_CONNECT: inside(
    true,
    'A sink cannot be reached',
    (f: AtSink) => `sink is not reachable: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_WRITE: inside(
    true,
    'A write to a sink failed',
    (f: AtSink) => `sink write failed: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_REJECTED: inside(
    false,
    'A sink refused an event for good',
    (f: AtSink) => `sink refused the event: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_STOPPED: inside(
    false,
    'A sink needs an operator',
    (f: AtSink) => `sink cannot go on by itself: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_FENCED: inside(
    false,
    'Another process moved the cursor of a sink',
    (f: AtSink) => `sink cursor must be moved by one process: sink=${f.sink}, reason=${f.reason}`,
  ),
  DEAD_LETTER_WRITE: inside(
    true,
    'A dead letter could not be stored',
    (f: AtPath) => `dead letter write failed: path=${f.path}, reason=${f.reason}`,
  ),
};

export type ErrorCode = keyof typeof rows;
/** What a code's text is made from. */
export type FieldsOf<C extends ErrorCode> = Parameters<(typeof rows)[C]['text']> extends [infer F] ? F : NoFields;
type NoFields = Readonly<Record<never, never>>;

/** The rows as data: the README's table and `Record<ErrorCode, ...>` maps are checked against this. */
export const errorTable: Readonly<Record<ErrorCode, Omit<Row<never>, 'text'>>> = rows;

/** The one Error class of Ringmain. Made by `errors.CODE(fields, cause)`. */
export class RingmainError extends Error {
  override readonly name = 'RingmainError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly retry: boolean;
  readonly exit: ExitCode;
  readonly fields: Fields;

  constructor(code: ErrorCode, fields: Fields, cause?: unknown) {
    super(textOf(code, fields), cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = rows[code].status;
    this.retry = rows[code].retry;
    this.exit = rows[code].exit;
    this.fields = fields;
  }
}

function textOf(code: ErrorCode, fields: Fields): string {
  // The table pairs every code with its fields; only here, where the code is a variable, the pairing is lost to the compiler.
  return (rows[code].text as (fields: Fields) => string)(fields);
}

type Factories = {
  readonly [C in ErrorCode]: NoFields extends FieldsOf<C>
    ? (fields?: FieldsOf<C>, cause?: unknown) => RingmainError
    : (fields: FieldsOf<C>, cause?: unknown) => RingmainError;
};

/** One maker per row: `errors.NOT_FOUND({ path })`. */
export const errors: Factories = Object.fromEntries(
  (Object.keys(rows) as ErrorCode[]).map((code) => [
    code,
    (fields: Fields = {}, cause?: unknown) => new RingmainError(code, fields, cause),
  ]),
) as unknown as Factories;

/** The exit code for whatever ended the process. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof RingmainError ? error.exit : exitCodes.internal;
}

/** What to say on stderr about whatever ended a start: a line per problem, and a stack only when it is a bug of ours. */
export function explain(error: unknown): readonly string[] {
  if (!(error instanceof RingmainError))
    return [error instanceof Error ? (error.stack ?? String(error)) : String(error)];
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`.split('\n');
}

/** The README's table of what clients may meet; it stands between <!-- errors:begin --> and <!-- errors:end -->. */
export function errorsReference(): string {
  const answers = Object.entries(errorTable)
    .filter(([, row]) => row.shown)
    .sort(([, a], [, b]) => a.status - b.status)
    .map(([code, row]) => [String(row.status), `\`${code}\``, row.retry ? 'yes' : 'no', row.title]);
  return markdownTable(['Status', 'Code', 'Send again', 'Meaning'], answers);
}

/** An answer after RFC 9457 (application/problem+json). The fields of the row stand beside its own members. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly [field: string]: unknown;
}

/**
 * The problem object of a code. A row about our inside keeps its status (503 when it may pass, else 500) and is called
 * INTERNAL: nothing of paths, hosts or causes reaches a client.
 */
export function problemOf<C extends ErrorCode>(code: C, fields: FieldsOf<C>): Problem {
  const row = rows[code];
  if (!row.shown) {
    const { title, text } = rows.INTERNAL;
    return { type: typeOf('INTERNAL'), title, status: row.status, code: 'INTERNAL', detail: text({}) };
  }
  // Members of RFC 9457 come last: a field of the same name must not replace them.
  const detail = textOf(code, fields as Fields);
  return { ...(fields as Fields), type: typeOf(code), title: row.title, status: row.status, code, detail };
}

/** The problem object for anything that was thrown. What is not ours says nothing about itself. */
export function problem(error: unknown): Problem {
  return error instanceof RingmainError
    ? problemOf(error.code, error.fields as FieldsOf<ErrorCode>)
    : problemOf('INTERNAL', {});
}

/** RFC 9457's `type`: a name, not an address, so that it needs no web site to stay true. */
function typeOf(code: ErrorCode): string {
  return `urn:ringmain:problem:${code.toLowerCase().replaceAll('_', '-')}`;
}
