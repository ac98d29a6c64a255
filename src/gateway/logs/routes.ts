/** GET /api/v1/logs: what was asked of the gateway, for administrators. */
import { serializerOf } from '../../http/json.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { DATABASE_WORKER, type Question } from '../../service/database/questions.ts';
import type { Area } from '../area.ts';
import type { Guard } from '../front/guard.ts';
import { LOGS_AREA, type LogsPage, readLogsQuestion } from './question.ts';
import { logPageSchema } from './schemas.ts';

const ASK_MS_MAX = 12_000;
const pageBody = serializerOf<LogsPage>(logPageSchema);

export function openLogs({ ask }: Pick<AcceptorFrame, 'ask'>, guard: Guard): Area {
  const list = guard.route({ route: 'logs', scope: 'administrator' }, async (exchange) => {
    const mark = exchange.target.indexOf('?');
    const input = readLogsQuestion(mark < 0 ? '' : exchange.target.slice(mark + 1));
    const question: Question = { area: LOGS_AREA, what: 'list', input };
    exchange.json(200, pageBody((await ask(DATABASE_WORKER, question, ASK_MS_MAX, 'reads')) as LogsPage));
  });
  return { routes: [{ name: 'logs', path: '/api/v1/logs', cors: guard.cors, streams: true, on: { GET: list } }] };
}
