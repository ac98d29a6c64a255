/**
 * Asks a database questions with filters, in a process of its own whose memory is measured: as JSON, the times of each question and what
 * they were made of. node analytics-scan.ts <dsn> <first day> <days> <rounds>
 */
import { Columns, type ScanTimes } from '../../src/analytics/columns/store.ts';
import { DAY_MS } from '../../src/analytics/dimensions.ts';
import type { AskedDimension, Filter, FilterOp, ScanGroup } from '../../src/analytics/query/types.ts';
import { openLink } from '../../src/store/postgres/connection.ts';
import { GAP_MS } from './analytics-data.ts';
import { textAt } from './analytics-traffic.ts';

export interface Asked {
  readonly name: string;
  readonly ms: readonly number[];
  /** Of the last round. */
  readonly times: ScanTimes;
}

export interface Scanned {
  /** Nothing is kept between questions. */
  readonly cold: readonly Asked[];
  /** Columns are kept, as in the worker. */
  readonly warm: readonly Asked[];
  readonly rssMiBMax: number;
}

const by = (dimension: AskedDimension): ScanGroup => ({ by: 'dimension', dimension });
const filter = (dimension: AskedDimension, value: string, op: FilterOp = 'is'): Filter => ({
  dimension,
  op,
  values: [value],
});

/** Pairs of dimensions: of visits, of events and both, with rare and frequent values. */
const asked: readonly (readonly [string, readonly Filter[], ScanGroup])[] = [
  [
    'pages where country and browser are',
    [filter('country', textAt('country', 1)), filter('browser', textAt('browser', 1))],
    by('path'),
  ],
  [
    'pages where country is not, device is (half of all events)',
    [filter('country', textAt('country', 0), 'is_not'), filter('device', textAt('device', 0))],
    by('path'),
  ],
  [
    'sources where path contains and device is',
    [filter('path', 'section-1', 'contains'), filter('device', textAt('device', 0))],
    by('source'),
  ],
  [
    'countries where path and event_type are',
    [filter('path', textAt('path', 3)), filter('event_type', 'page_view')],
    by('country'),
  ],
  [
    'exit pages where entry page and os are',
    [filter('entry_page', textAt('path', 1)), filter('os', textAt('os', 0))],
    by('exit_page'),
  ],
  [
    'event types where path matches, referrer contains',
    [filter('path', '/section-1*/**', 'matches'), filter('referrer', '1', 'contains')],
    by('event_type'),
  ],
  [
    'all where a property and country are',
    [filter('prop', JSON.stringify(['signup', 'plan', 'pro'])), filter('country', textAt('country', 0))],
    { by: 'all' },
  ],
];

const [dsn, firstDay, days, rounds] = process.argv.slice(2);
const link = await openLink(dsn!);
const range = { fromMs: Number(firstDay) * DAY_MS, toMs: (Number(firstDay) + Number(days)) * DAY_MS };
let rss = 0;
const ask = async (cacheBytes: number): Promise<Asked[]> => {
  const columns = new Columns({ gapMs: GAP_MS, cacheBytes });
  const answers: Asked[] = [];
  for (const [name, filters, group] of asked) {
    const ms: number[] = [];
    for (let round = 0; round < Number(rounds); round++) {
      const begin = performance.now();
      await columns.answer(link, { site: 1, range, filters, group });
      ms.push(performance.now() - begin);
      rss = Math.max(rss, process.memoryUsage.rss() / 2 ** 20);
    }
    answers.push({ name, ms, times: columns.times });
  }
  return answers;
};
const cold = await ask(0);
const warm = await ask(64 * 2 ** 20);
await link.close();
console.log(JSON.stringify({ cold, warm, rssMiBMax: rss } satisfies Scanned));
