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
  THREAD_DIED: inside(
    true,
    'A thread ended',
    (f: { thread: string; reason: string }) => `thread ended: thread=${f.thread}, reason=${f.reason}`,
  ),
});
