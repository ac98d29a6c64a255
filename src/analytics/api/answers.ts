/** Answers of the worker `query` to the questions of the API. */
import type { Snapshot } from '../query/database.ts';
import type { Scan } from '../query/types.ts';
import { breakdownAnswer, seriesAnswer, summaryAnswer, timeseriesAnswer, viewOf } from './panels.ts';
import type { Reading } from './questions.ts';
import { findSite, goalsOf, listSites, showSite } from './site.ts';
import { answerV2 } from './v2/answer.ts';

export async function answerApi(snapshot: Snapshot, question: Reading, scan: Scan): Promise<unknown> {
  switch (question.name) {
    case 'sites':
      return listSites(snapshot, question.sites);
    case 'site':
      return showSite(snapshot, question.siteId);
    case 'goals':
      return { goals: await goalsOf(snapshot, (await findSite(snapshot, question.siteId)).site) };
    case 'summary':
      return summaryAnswer(await viewOf(snapshot, question, scan));
    case 'timeseries':
      return timeseriesAnswer(await viewOf(snapshot, question, scan), question.metric, question.interval);
    case 'series':
      return seriesAnswer(await viewOf(snapshot, question, scan), question.interval);
    case 'v2':
      return answerV2(snapshot, question.query, question.nowMs, scan);
    case 'breakdown':
      return breakdownAnswer(await viewOf(snapshot, question, scan), question);
  }
}
