/** Questions of acceptors to a callers worker (worker.ts): what has changed among keys, and administration. */
import type { ChangesQuestion } from '../../service/change-copy.ts';
import { askerOf, type Question } from '../../service/database/questions.ts';
import type { AdminQuestions } from './views.ts';

/** The worker of role api, and that of role reporting: each role asks one of its own. */
export const CUSTOMERS_WORKER = 'customers';
export const REPORT_CALLERS_WORKER = 'callers-reporting';

export const KEYS_AREA = 'keys';
export const ADMIN_AREA = 'admin';

export const keysQuestion = (input: ChangesQuestion): Question => ({ area: KEYS_AREA, what: 'changes', input });

const ASK_MS_MAX = 9000;

/** Asks the worker of role api for administration. */
export const adminOf = askerOf<AdminQuestions>(CUSTOMERS_WORKER, ADMIN_AREA, ASK_MS_MAX, [
  'listCustomers',
  'customer',
  'listKeys',
  'audit',
]);
