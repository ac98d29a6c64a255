/**
 * Faults: what an error of the database means for the code that writes to it, by SQLSTATE, never by text.
 *
 *   network  the connection is gone or never came: connect again, the next host included
 *   moved    the server may not be written to (a standby): connect again, another host may have become the primary
 *   busy     nothing is wrong with the data: the same transaction may succeed later (locks, limits, disk, restarts)
 *   row      the server refuses what was sent: smaller batches find the row
 *   setup    tables, permissions or credentials: an operator has to act
 */
import { DatabaseError } from 'pg';
import { reasonAt, textOf } from '../../kernel/place.ts';

/** What only an operator can mend: tables that do not fit, permissions that are missing. The message says how. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}

export type Fault = 'network' | 'moved' | 'busy' | 'row' | 'setup';

/** By code where it matters, else by class (the first two characters). */
const byCode: Readonly<Record<string, Fault>> = {
  '57P01': 'network', // admin_shutdown
  '57P02': 'network', // crash_shutdown
  '57P03': 'network', // cannot_connect_now
  '57P05': 'network', // idle_session_timeout
  '25006': 'moved', // read_only_sql_transaction
  '25P03': 'network', // idle_in_transaction_session_timeout: the server has closed the connection
  '54023': 'setup', // too_many_arguments
  '55000': 'busy', // object_not_in_prerequisite_state
  XX001: 'setup', // data_corrupted
  XX002: 'setup', // index_corrupted
};
const byClass: Readonly<Record<string, Fault>> = {
  '08': 'network',
  '40': 'busy', // serialization_failure, deadlock_detected
  '53': 'busy', // disk_full, out_of_memory, too_many_connections
  '55': 'busy', // lock_not_available, object_in_use
  '57': 'busy', // query_canceled (statement_timeout)
  '58': 'busy', // io_error
  XX: 'busy',
  '21': 'row',
  '22': 'row', // data exception: not JSON, NUL, out of range
  '23': 'row', // not null, check, foreign key, another unique index
  '44': 'row', // with check option
  '54': 'row', // program limits: nesting too deep, too many bytes
  P0: 'row', // raised by a trigger
};

/** The fault of anything that a query or a connection attempt throws. */
export function faultOf(error: unknown): Fault {
  if (error instanceof SetupError) return 'setup';
  const state = sqlState(error);
  // An error that is no answer of the server comes from the way to it: sockets, DNS, TLS, our own time-outs.
  if (state === undefined) return 'network';
  return byCode[state] ?? byClass[state.slice(0, 2)] ?? 'setup';
}

/** Whether the server refuses the login, the name of the database, or a right: an operator has to correct it. */
export function isDenied(error: unknown): boolean {
  const state = sqlState(error) ?? '';
  return state.startsWith('28') || state === '3D000' || state === '42501';
}

/** The five characters of SQLSTATE, when the error is a server's answer. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof DatabaseError && /^[0-9A-Z]{5}$/.test(error.code ?? '') ? error.code : undefined;
}

/** One line for a log: the server's words, its code, and the table or constraint they concern; no data of the row. */
export function describeFault(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof DatabaseError)) return textOf(error);
  const about = [error.schema, error.table, error.column, error.constraint]
    .filter((part) => part !== undefined)
    .join('.');
  return `${error.message} (SQLSTATE ${error.code}${about === '' ? '' : `, ${about}`})`;
}

/**
 * Puts host and port into the message of an error, unless they stand there. What the server says about a row stays as
 * it is: it becomes the reason of a dead letter, and reasons are counted by their text.
 */
export function nameServer(error: unknown, place: string): void {
  if (error instanceof Error && faultOf(error) !== 'row') error.message = reasonAt(error, [place]);
}
