/**
 * Errors: one row per thing that can go wrong, declared by the room where it happens. All error codes are declared here
 * or in a room's errors.ts.
 *
 *   status  HTTP status when it reaches a client
 *   retry   the same call may succeed later, unchanged
 *   title   what the code means, the same every time
 *   text    what must hold, then what was found this time
 *   exit    exit code when it ends the process
 *   shown   the client may read text and fields; else it gets INTERNAL
 *
 *   export const httpErrors = defineErrors('http', {
 *     BODY_TOO_LARGE: answer(413, false, 'The body is too large', (f: Limit) => `body exceeds the limit: ...`),
 *   });
 *   throw httpErrors.BODY_TOO_LARGE({ bytes, limit });             deliveryErrors.SINK_WRITE({ sink, reason }, cause)
 *   problemOf(httpErrors.BODY_TOO_LARGE, { bytes, limit })         the answer to a client, without making an Error
 *
 * Code branches on `code` and `retry`, never on text. Codes are stable, because clients and alerts depend on them. Two
 * rooms never declare the same code (test/kernel/errors.test.ts compares all tables). On the hot path refusal is a
 * value and not an Error.
 */
import { markdownTable } from './markdown.ts';

/**
 * Exit codes of the process (sysexits.h): what an operator or a service manager may branch on. `temporary` passes by
 * itself, so it is worth a restart; `usage` and `config` need a person. `failed` and `severe` are those of tools: one
 * has worked as it should, and what it checked or delivered is not in order.
 */
export const exitCodes = { ok: 0, failed: 1, severe: 2, usage: 64, internal: 70, temporary: 75, config: 78 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What an exit code means, and who starts again after it. Codes of a signal are 128 and its number. */
export interface ExitRow {
  readonly code: string;
  readonly meaning: string;
  /** Whether systemd starts the service again; undefined: no service ends with it. */
  readonly restarts: boolean | undefined;
  /** After which time the chart repeats a drain that ended so; undefined: never. */
  readonly repeats: string | undefined;
}

const SOON = '1, 2, 4 … 30 min';
const LATE = '30 min';

type Exit = readonly [code: number | string, meaning: string, restarts?: boolean | undefined, repeats?: string];
const exits: readonly Exit[] = [
  [exitCodes.ok, 'Success. A service has drained; what a sink could not take is in the journal.', false],
  [
    exitCodes.failed,
    'What a tool checked or delivered has problems or needs an operator. `doctor`: warnings. ' +
      '`--healthcheck`: not healthy.',
    undefined,
    SOON,
  ],
  [exitCodes.severe, '`doctor`: errors.'],
  [exitCodes.usage, 'Invalid command line.', false, LATE],
  [exitCodes.internal, 'Internal error, or a thread that cannot be replaced has died.', true, SOON],
  [
    exitCodes.temporary,
    'Temporary: the port, the journal or the log file is in use by another process; the target of a tool is down, ' +
      'or a disk is full.',
    true,
    SOON,
  ],
  [
    exitCodes.config,
    'The configuration, a path or a permission has to be corrected first; nothing was touched.',
    false,
    LATE,
  ],
  ['130, 143', 'A second SIGINT or SIGTERM cut the drain of a service short; the first one, a tool.', true, SOON],
  [141, "The reader of a tool's output went away (`journal cat | head`)."],
];

/** All exit codes; the tables of README.md and RUNBOOK.md are made from them. */
export const exitRows: readonly ExitRow[] = exits.map(([code, meaning, restarts, repeats]) => ({
  code: String(code),
  meaning,
  restarts,
  repeats,
}));

/** The table of the exit codes, between <!-- exits:begin --> and <!-- exits:end -->. */
export function exitsReference(): string {
  const word = (again: boolean | undefined): string => (again === undefined ? '–' : again ? 'yes' : 'no');
  const rows = exitRows.map(({ code, meaning, restarts, repeats = '–' }) => [code, meaning, word(restarts), repeats]);
  return markdownTable(['Code', 'Meaning', 'systemd restarts', 'Chart repeats the drain after'], rows);
}

type Fields = Readonly<Record<string, unknown>>;

/** What a room declares; `F` are the fields that the text is made from. */
export interface ErrorRow<F extends object = object> {
  readonly status: number;
  readonly retry: boolean;
  readonly title: string;
  text(fields: F): string;
  readonly exit: ExitCode;
  readonly shown: boolean;
}

/** A row whose text and fields the client may read, because they describe the client's own request. */
export function answer<F extends object = object>(
  status: number,
  retry: boolean,
  title: string,
  text: (fields: F) => string,
): ErrorRow<F> {
  return { status, retry, title, text, exit: exitCodes.internal, shown: true };
}

/** A row about the inside of this process (disk, sink, thread). The log shows it; a client reads INTERNAL instead. */
export function inside<F extends object = object>(
  retry: boolean,
  title: string,
  text: (fields: F) => string,
  exit: ExitCode = exitCodes.internal,
): ErrorRow<F> {
  return { status: retry ? 503 : 500, retry, title, text, exit, shown: false };
}

/** A code with what its row says of every occurrence; plain data. */
export interface ErrorKind<C extends string = string> extends Omit<ErrorRow, 'text'> {
  readonly room: string;
  readonly code: C;
}

/** Makes errors of one kind: `httpErrors.NOT_FOUND({ path })`. */
export interface ErrorMaker<C extends string, F extends object> {
  (...given: object extends F ? [fields?: F, cause?: unknown] : [fields: F, cause?: unknown]): RingmainError<C>;
  readonly kind: ErrorKind<C>;
  readonly text: (fields: F) => string;
}

/** The makers of a room, by code. */
export type ErrorsOf<R> = {
  readonly [C in keyof R & string]: R[C] extends ErrorRow<infer F> ? ErrorMaker<C, F> : never;
};
/** The makers of any room. */
export type ErrorSet = Readonly<Record<string, { readonly kind: ErrorKind }>>;

/** Declares the errors of a room. Throws a TypeError for a code that is not UPPER_SNAKE. */
export function defineErrors<const R extends Readonly<Record<string, ErrorRow>>>(room: string, rows: R): ErrorsOf<R> {
  const makers = Object.entries(rows).map(([code, row]) => {
    if (!/^[A-Z]+(_[A-Z]+)*$/.test(code)) throw new TypeError(`${room}: ${code} is not UPPER_SNAKE`);
    const { status, retry, title, exit, shown } = row;
    const kind: ErrorKind = { room, code, status, retry, title, exit, shown };
    // The row pairs a code with its fields; here, where the code is a variable, the compiler cannot see the pairing.
    const text = row.text as (fields: Fields) => string;
    const make = (fields: Fields = {}, cause?: unknown) => new RingmainError(kind, text(fields), fields, cause);
    return [code, Object.assign(make, { kind, text })] as const;
  });
  return Object.fromEntries(makers) as unknown as ErrorsOf<R>;
}

/** The one Error class of Ringmain. Makers make it. */
export class RingmainError<C extends string = string> extends Error {
  override readonly name = 'RingmainError';
  readonly kind: ErrorKind<C>;
  readonly fields: Fields;

  constructor(kind: ErrorKind<C>, message: string, fields: Fields, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.fields = fields;
  }

  get code(): C {
    return this.kind.code;
  }
  get status(): number {
    return this.kind.status;
  }
  get retry(): boolean {
    return this.kind.retry;
  }
  get exit(): ExitCode {
    return this.kind.exit;
  }
}

/** The kernel's own errors, which every room may meet. */
export const errors = defineErrors('kernel', {
  INTERNAL: answer(500, false, 'Something went wrong on our side', () => 'the request was not completed'),
  CONFIG: inside(
    false,
    'The configuration is invalid',
    (f: { problems: readonly string[] }) => f.problems.join('\n'),
    exitCodes.config,
  ),
  USAGE: inside(false, 'Invalid command line', (f: { reason: string }) => f.reason, exitCodes.usage),
});

/** An error as plain data, on its way to another thread. Without a kind it is a defect, and the message its stack. */
export interface Failure {
  readonly kind: ErrorKind | undefined;
  readonly message: string;
  readonly fields: Fields;
}

/** Takes an error apart for another thread. The cause stays behind; the text of the error already says the reason. */
export function failureOf(error: unknown): Failure {
  if (error instanceof RingmainError) return { kind: error.kind, message: error.message, fields: error.fields };
  return { kind: undefined, message: String((error as Error)?.stack ?? error), fields: {} };
}

/** Makes the error again. The other thread needs none of the tables of the room that declared it. */
export function errorOf({ kind, message, fields }: Failure): Error {
  return kind === undefined ? new Error(message) : new RingmainError(kind, message, fields);
}

/** The exit code for whatever ended the process. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof RingmainError ? error.exit : exitCodes.internal;
}

/** What stderr shows when a start fails: one line per problem, and a stack only for a defect. */
export function explain(error: unknown): readonly string[] {
  if (!(error instanceof RingmainError))
    return [error instanceof Error ? (error.stack ?? String(error)) : String(error)];
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`.split('\n');
}

/** The kinds of all sets, in their order. Throws a TypeError when two rooms declare one code. */
export function errorKinds(sets: readonly ErrorSet[]): readonly ErrorKind[] {
  const kinds = sets.flatMap((set) => Object.values(set).map(({ kind }) => kind));
  for (const [code, same] of Map.groupBy(kinds, (kind) => kind.code)) {
    if (same.length > 1)
      throw new TypeError(`${code} is declared twice: ${same.map(({ room }) => room).join(' and ')}`);
  }
  return kinds;
}

/**
 * The table of the codes in a service's README that clients may meet, between <!-- errors:begin --> and <!-- errors:end
 * -->.
 */
export function errorsReference(sets: readonly ErrorSet[]): string {
  const answers = errorKinds(sets)
    .filter(({ shown }) => shown)
    .sort((a, b) => a.status - b.status || (a.code < b.code ? -1 : 1))
    .map(({ status, code, retry, title }) => [String(status), `\`${code}\``, retry ? 'yes' : 'no', title]);
  return markdownTable(['Status', 'Code', 'Retry', 'Meaning'], answers);
}

/** An answer after RFC 9457 (application/problem+json). The fields of the row stand beside its own members. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly [field: string]: unknown;
}

/** The problem object of one occurrence, as problem() makes it of an error. */
export function problemOf<F extends object>(maker: ErrorMaker<string, F>, fields: F): Problem {
  return problemFrom(maker.kind, () => maker.text(fields), fields as Fields);
}

/** The problem object for anything that was thrown. Of anything but a RingmainError the client learns only INTERNAL. */
export function problem(error: unknown): Problem {
  return error instanceof RingmainError
    ? problemFrom(error.kind, () => error.message, error.fields)
    : problemOf(errors.INTERNAL, {});
}

/**
 * A row about the inside of the process keeps its status (503 when it may pass, else 500) and is called INTERNAL, so no
 * path, host or cause reaches a client.
 */
function problemFrom(kind: ErrorKind, text: () => string, fields: Fields): Problem {
  const { code, status, title, shown } = kind;
  if (!shown) {
    const { kind: internal, text: detail } = errors.INTERNAL;
    return { type: typeOf(internal.code), title: internal.title, status, code: internal.code, detail: detail({}) };
  }
  // Members of RFC 9457 come last, so that no field of the same name can replace them.
  return { ...fields, type: typeOf(code), title, status, code, detail: text() };
}

/** RFC 9457's `type`: a name and not an address, so that it stays true without a web site. */
function typeOf(code: string): string {
  return `urn:ringmain:problem:${code.toLowerCase().replaceAll('_', '-')}`;
}
