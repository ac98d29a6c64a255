/**
 * Database worker: answers what acceptors ask of the database. It is ready as soon as it runs: while the database is
 * away, pictures are served on.
 *
 *   pictures  whose upload it is: sessions of their own, so that a picture waits for nobody's upload, list or log
 *   logs      sessions of their own as well: a question about months may take seconds. Few wait, for nobody waits long
 *             for an answer, and those that are given up would be worked off all the same
 *   others    DB_MAX_CONNECTIONS
 */
import { once } from 'node:events';
import type { Worker } from '../../service/contract.ts';
import { openAnswering } from '../../service/database/answering.ts';
import type { Answers, Question } from '../../service/database/questions.ts';
import type { GatewayValues } from '../gateway.ts';
import { IMAGES_AREA, OWNS_AREA, ownsAnswers, purgeAnswers } from '../images/answers.ts';
import { logsAnswers } from '../logs/answers.ts';
import { LOGS_AREA } from '../logs/question.ts';
import { USAGE_AREA, usageAnswers } from '../quota/usage-answers.ts';
import { uploadAnswers } from '../upload/answers.ts';
import { UPLOADS_AREA } from '../upload/questions.ts';
import { adminAnswers } from './admin/answers.ts';

const PICTURE_SESSIONS = 2;
const LOG_SESSIONS = 2;
const LOG_WAITING = 8;

export default {
  async run({ values, log, signal, ready, serve }) {
    const { access, gateway, postgres } = values;
    const open = (sessions: number, areas: Readonly<Record<string, Answers>>, waiting?: number) =>
      openAnswering({
        ...{ dsn: postgres.pgDsn!, applicationName: 'ringmain-gateway', sessions, areas, log },
        ...(waiting === undefined ? {} : { waiting }),
      });
    const pictures = open(PICTURE_SESSIONS, { [OWNS_AREA]: ownsAnswers });
    const logs = open(LOG_SESSIONS, { [LOGS_AREA]: logsAnswers }, LOG_WAITING);
    const others = open(gateway.databaseMaxConnections, {
      admin: adminAnswers(access.keyPepper),
      [IMAGES_AREA]: purgeAnswers,
      [UPLOADS_AREA]: uploadAnswers(gateway.uploadDir),
      [USAGE_AREA]: usageAnswers,
    });
    const own = new Map([
      [OWNS_AREA, pictures],
      [LOGS_AREA, logs],
    ]);
    serve((asked) => (own.get((asked as Question).area) ?? others).answer(asked));
    ready();
    if (!signal.aborted) await once(signal, 'abort');
    await Promise.all([pictures, logs, others].map((answering) => answering.close()));
  },
} satisfies Worker<GatewayValues>;
