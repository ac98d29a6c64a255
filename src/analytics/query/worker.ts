/**
 * Worker `query`: answers the questions of the acceptors from Postgres. It is ready as soon as it runs, and stays so
 * while the database is away: events are taken in meanwhile, and a red /readyz would send them elsewhere. Questions get
 * STORE_AWAY then, and the gauge ringmain_query_up is 0.
 */
import { once } from 'node:events';
import type { Worker } from '../../service/contract.ts';
import type { AnalyticsValues } from '../analytics.ts';
import type { Answering } from './answering.ts';
import { tellLag } from './lag-teller.ts';
import { queryMetrics } from './metrics.ts';
import { questionNames } from './names.ts';
import type { Question } from './questions.ts';

export default {
  async run({ values, log, signal, meters, ready, serve, journal }) {
    const cells = meters(queryMetrics);
    const seconds = new Map<string, ReturnType<typeof cells.ringmain_query_seconds.at>>(
      questionNames.map((question) => [question, cells.ringmain_query_seconds.at({ question })]),
    );
    const up = cells.ringmain_query_up.at();
    up.set(1);
    const told = (away: string | undefined): void => {
      up.set(away === undefined ? 1 : 0);
      if (away === undefined) log.info('the database answers questions again');
      else log.warn({ reason: away }, 'the database cannot be reached: questions are answered with 503');
    };
    let opened: Promise<Answering> | undefined;
    const open = async (): Promise<Answering> => {
      try {
        return await (await import('./answering.ts')).openAnswering({ values, log, told });
      } catch (error) {
        // The next question tries again.
        opened = undefined;
        throw error;
      }
    };
    const telling = tellLag(values.postgres.pgDsn ?? '', journal, signal);
    serve(async (asked, leave) => {
      const question = asked as Question;
      opened ??= open();
      const answering = await opened;
      const started = performance.now();
      try {
        return await answering.answer(question, leave);
      } finally {
        seconds.get(question.name)?.observe((performance.now() - started) / 1000);
      }
    }, values.analytics.queryConnections);
    ready();
    if (!signal.aborted) await once(signal, 'abort');
    await Promise.all([opened?.then((answering) => answering.close()), telling]);
  },
} satisfies Worker<AnalyticsValues>;
