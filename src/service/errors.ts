/** Errors of the frame of a service: an intake with an unknown outcome, and threads that end. */
import { answer, defineErrors, inside } from '../kernel/errors.ts';

interface Reason {
  readonly reason: string;
}

export const serviceErrors = defineErrors('service', {
  WRITE_UNKNOWN: answer(
    503,
    true,
    'It is unknown whether the events were stored',
    (f: Reason) => `the outcome is unknown, sending again may store twice: reason=${f.reason}`,
  ),
  RECORDS_TOO_LARGE: answer(
    413,
    false,
    'The records of a request are too large',
    (f: { limit: number }) => `the records of one request must fit a publish: limit=${f.limit} bytes`,
  ),
  WORKER_BUSY: answer(
    429,
    true,
    'Too many requests wait for one part of this server',
    (f: { worker: string; waiting: number }) =>
      `fewer requests must wait for a worker: worker=${f.worker}, waiting=${f.waiting}`,
  ),
  WORKER_GONE: answer(
    503,
    true,
    'A part of this server is being started',
    (f: { worker: string }) => `the worker must run: worker=${f.worker}; the outcome is unknown`,
  ),
  WORKER_TIMEOUT: answer(
    503,
    true,
    'A part of this server took too long',
    (f: { worker: string }) => `the worker must answer in time: worker=${f.worker}; the outcome is unknown`,
  ),
  THREAD_DIED: inside(
    true,
    'A thread ended',
    (f: { thread: string; reason: string }) => `thread ended: thread=${f.thread}, reason=${f.reason}`,
  ),
});
