/**
 * Errors of the frame of a service: an intake with an unknown outcome, threads that end, what administration refuses,
 * and what keeps a tool from its work.
 */
import { answer, defineErrors, exitCodes, inside } from '../kernel/errors.ts';

interface Reason {
  readonly reason: string;
}

interface Stopped {
  readonly sink: string;
  /** Where the sink is: host and port, or a path. */
  readonly at: string;
  readonly reason: string;
  readonly advice: string;
  readonly sent: number;
  /** The flag that makes the next replay go on. */
  readonly resume: string;
}

const stopped = ({ sink, at, reason, advice, sent, resume }: Stopped): string =>
  `the replay stopped after ${sent} ${sent === 1 ? 'event' : 'events'}: ${sink} (${at}) accepts no events: ${reason}; ` +
  `${advice}, then continue with ${resume}`;

/** What a question that was not answered has left. */
const left = {
  unasked: 'nothing was done, ask again',
  reads: 'nothing was changed, ask again',
  changes: 'the outcome is unknown',
} as const;

interface Unanswered {
  readonly worker: string;
  readonly left: keyof typeof left;
}

export const serviceErrors = defineErrors('service', {
  WRITE_UNKNOWN: answer(
    503,
    true,
    'It is unknown whether the events were stored',
    (f: Reason) => `the outcome is unknown; a retry may store the events twice: reason=${f.reason}`,
  ),
  RECORDS_TOO_LARGE: answer(
    413,
    false,
    'The records of a request are too large',
    (f: { limit: number }) => `the records of one request must fit into one publish: limit=${f.limit} bytes`,
  ),
  WORKER_BUSY: answer(
    503,
    true,
    'Too many requests are waiting for a worker of this server',
    (f: { worker: string; waiting: number }) =>
      `too many requests are waiting for the worker: worker=${f.worker}, waiting=${f.waiting}`,
  ),
  WORKER_GONE: answer(
    503,
    true,
    'A worker of this server is restarting',
    (f: Unanswered) => `the worker is not running: worker=${f.worker}; ${left[f.left]}`,
  ),
  WORKER_TIMEOUT: answer(
    503,
    true,
    'A worker of this server did not answer in time',
    (f: Unanswered) => `the answer did not come in time: worker=${f.worker}; ${left[f.left]}`,
  ),
  THREAD_DIED: inside(
    true,
    'A thread ended',
    (f: { thread: string; reason: string }) => `thread ended: thread=${f.thread}, reason=${f.reason}`,
  ),
  FILE_DENIED: inside(
    false,
    'A file or folder belongs to another user',
    (f: { path: string; code: string; advice: string }) => `permission denied (${f.code}): path=${f.path}; ${f.advice}`,
    exitCodes.config,
  ),
  DISK_FULL: inside(
    true,
    'The disk is full',
    (f: { path: string }) => `no space left on the disk: path=${f.path}; make room and run it again`,
    exitCodes.temporary,
  ),
  FILE_WRONG: inside(
    false,
    'A path leads to something else',
    (f: { path: string; reason: string }) => `path cannot be used: path=${f.path}, reason=${f.reason}`,
    exitCodes.config,
  ),
  FILE_BROKEN: inside(
    false,
    'A file cannot be read or written',
    (f: { path: string; reason: string }) => `file cannot be read or written: path=${f.path}, reason=${f.reason}`,
    exitCodes.failed,
  ),
  JOURNAL_REPLAY_ENDED: inside(
    true,
    'A replay of the journal ended early, for its sink is away',
    stopped,
    exitCodes.temporary,
  ),
  JOURNAL_REPLAY_STOPPED: inside(false, 'A replay of the journal needs an operator', stopped, exitCodes.failed),
  DATABASE_AWAY: inside(
    true,
    'The database of a service is away',
    (f: { reason: string }) => `the database cannot be used now: ${f.reason}; run it again when it is back`,
    exitCodes.temporary,
  ),
  DATABASE_REFUSED: inside(false, 'The database of a service refused it', (f: Reason) => f.reason, exitCodes.failed),
  DATABASE_DENIED: inside(
    false,
    'The database of a service refuses its login',
    (f: Reason) => f.reason,
    exitCodes.config,
  ),
  MIGRATION_FAILED: inside(
    false,
    'A migration needs an operator',
    (f: { reason: string }) => f.reason,
    exitCodes.failed,
  ),
  // Administration of a service. The first three end a tool as well.
  RESOURCE_UNKNOWN: {
    ...answer(
      404,
      false,
      'There is no such thing',
      (f: { what: string; id: string }) => `there is no such ${f.what}: found=${f.id}`,
    ),
    exit: exitCodes.failed,
  },
  RESOURCE_TAKEN: {
    ...answer(409, false, 'It does not go with what is there', (f: Reason) => f.reason),
    exit: exitCodes.failed,
  },
  INPUT_REFUSED: { ...answer(400, false, 'A value is not valid', (f: Reason) => f.reason), exit: exitCodes.usage },
  DATABASE_UNAVAILABLE: answer(
    503,
    true,
    'The database cannot be reached now',
    () => 'what is kept in the database can neither be read nor changed now; retry later',
  ),
});
