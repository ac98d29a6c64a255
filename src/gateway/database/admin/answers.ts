/** Answers of the area `admin`, and how an acceptor asks for them. */
import { listAudit } from '../../../service/database/audit.ts';
import { type Answers, askerOf, DATABASE_WORKER } from '../../../service/database/questions.ts';
import type { PostgresLink } from '../../../store/postgres/connection.ts';
import { addBackend, changeBackend, listBackends, removeBackend } from './backends.ts';
import type { AdminQuestions } from './contract.ts';
import { addKey, changeKey, listKeys, revokeKey, rotateKey } from './keys.ts';
import { setLimits, setNetworks, setQuota } from './limits.ts';
import { addUser, changeUser, findUser, listUsers, removeUser } from './users.ts';

type Asked = {
  readonly [Q in keyof AdminQuestions]: (
    link: PostgresLink,
    input: AdminQuestions[Q]['input'],
  ) => Promise<AdminQuestions[Q]['answer']>;
};

/** `pepper`: KEY_PEPPER. */
export function adminAnswers(pepper: string | undefined): Answers {
  const answers: Asked = {
    addUser: (link, { actor, user }) => addUser(link, actor, user),
    listUsers: (link, input) => listUsers(link, input),
    user: (link, { id }) => findUser(link, id),
    changeUser: (link, { actor, id, change }) => changeUser(link, actor, id, change),
    removeUser: (link, { actor, id }) => removeUser(link, actor, id).then(() => null),
    setLimits: (link, { actor, userId, limits }) => setLimits(link, actor, userId, limits),
    setQuota: (link, { actor, userId, quota }) => setQuota(link, actor, userId, quota),
    setNetworks: (link, { actor, userId, networks }) => setNetworks(link, actor, userId, networks),
    addKey: (link, { actor, userId, key }) => addKey(link, actor, pepper!, userId, key),
    listKeys: (link, { userId }) => listKeys(link, userId),
    changeKey: (link, { actor, id, change }) => changeKey(link, actor, id, change),
    rotateKey: (link, { actor, id, overlapS }) => rotateKey(link, actor, pepper!, id, overlapS),
    revokeKey: (link, { actor, id }) => revokeKey(link, actor, id).then(() => null),
    listBackends: (link) => listBackends(link),
    addBackend: (link, { actor, backend }) => addBackend(link, actor, backend),
    changeBackend: (link, { actor, id, change }) => changeBackend(link, actor, id, change),
    removeBackend: (link, { actor, id }) => removeBackend(link, actor, id).then(() => null),
    audit: (link, { before, limit }) => listAudit(link, limit, before),
  };
  return answers as unknown as Answers;
}

const ASK_MS_MAX = 15_000;

/** Asks the database worker for administration. */
export const adminOf = askerOf<AdminQuestions>(DATABASE_WORKER, 'admin', ASK_MS_MAX, [
  'listUsers',
  'user',
  'listKeys',
  'listBackends',
  'audit',
]);
