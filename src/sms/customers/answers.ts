/** Answers of administration, in the worker (worker.ts). */
import { listAudit } from '../../service/database/audit.ts';
import type { Answers } from '../../service/database/questions.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import {
  addCustomer,
  changeCustomer,
  creditCustomer,
  debitCustomer,
  findCustomer,
  listCustomers,
} from './customers.ts';
import { addKey, listKeys, revokeKey, rotateCallbackSecret, rotateKey } from './keys.ts';
import type { AdminQuestions } from './views.ts';

type Asked = {
  readonly [Q in keyof AdminQuestions]: (
    link: PostgresLink,
    input: AdminQuestions[Q]['input'],
  ) => Promise<AdminQuestions[Q]['answer']>;
};

/** Questions after which other threads must know of other keys. */
export const changesKeys: ReadonlySet<string> = new Set<keyof AdminQuestions>([
  'addKey',
  'rotateKey',
  'revokeKey',
  'changeCustomer',
]);

/** `pepper`: KEY_PEPPER. */
export function adminAnswers(pepper: string | undefined): Answers {
  const given = (): string => {
    if (pepper === undefined)
      throw serviceErrors.RESOURCE_TAKEN({ reason: 'KEY_PEPPER must be set before keys are made' });
    return pepper;
  };
  const answers: Asked = {
    addCustomer: (link, { actor, customer }) => addCustomer(link, actor, customer),
    listCustomers: (link, input) => listCustomers(link, input),
    customer: (link, { id }) => findCustomer(link, id),
    changeCustomer: (link, { actor, id, change }) => changeCustomer(link, actor, id, change),
    credit: (link, { actor, id, credit }) => creditCustomer(link, actor, id, credit),
    debit: (link, { actor, id, debit }) => debitCustomer(link, actor, id, debit),
    rotateCallbackSecret: (link, { actor, id }) => rotateCallbackSecret(link, actor, id),
    addKey: async (link, { actor, customerId, key }) => addKey(link, actor, given(), customerId, key),
    rotateKey: async (link, { actor, id, overlapS }) => rotateKey(link, actor, given(), id, overlapS),
    listKeys: (link, { customerId }) => listKeys(link, customerId),
    revokeKey: (link, { actor, id }) => revokeKey(link, actor, id).then(() => null),
    audit: (link, { before, limit }) => listAudit(link, limit, before),
  };
  return answers as unknown as Answers;
}
