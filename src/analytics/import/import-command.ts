/**
 * Tool `ringmain import`: plays access logs and exports of other tools into a site. What was imported before adds
 * nothing, so it is run again after Ctrl-C, an outage, or when a log has grown.
 */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { now } from '../../kernel/clock.ts';
import { exitCodes } from '../../kernel/errors.ts';
import { createLog, type KernelConfig, logTarget } from '../../kernel/log.ts';
import { type Configured, configure } from '../../service/configured.ts';
import type { AnyService } from '../../service/contract.ts';
import { withFaults } from '../../service/tool/fault.ts';
import { usage } from '../../service/tool/flags.ts';
import { Interrupt } from '../../service/tool/interrupt.ts';
import { dsnOf, onDatabase } from '../../service/tool/on-database.ts';
import { say } from '../../service/tool/output.ts';
import { Progress } from '../../service/tool/progress.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { silentHost } from '../../store/postgres/vanishing.ts';
import { siteIdOf } from '../access/site-command.ts';
import type { AnalyticsValues } from '../analytics.ts';
import { oldestAgeMs } from '../processor/clock.ts';
import { EventLoad } from '../processor/event-load.ts';
import { MonthsOnDemand } from '../processor/partitions.ts';
import { sourceOf } from '../processor/source.ts';
import { Visitors } from '../processor/visitors.ts';
import { Rollups } from '../rollup/rollup.ts';
import { EventLines, type Imported } from './events.ts';
import { linesOf, TOO_LONG } from './lines.ts';
import { importDays } from './plausible.ts';
import { Report } from './report.ts';
import { ImportStore } from './store.ts';

const formats = ['combined', 'json', 'plausible-csv'] as const;
type Format = (typeof formats)[number];

/** Events of one transaction. */
const BATCH = 5000;
const QUERY_MS_MAX = 300_000;

const HELP = `ringmain import --site=SITE_ID --format=FORMAT FILE... [--option=value ...]

Imports files into a site, beside running services or without any. A file may be packed with gzip; - is standard
input. What was imported before adds nothing, however long ago: run it again after Ctrl-C, or when a log has grown.

    --site=SITE_ID    the site that everything is counted for
    --format=FORMAT   combined        access logs of nginx and Apache: each GET of a page that was answered with 200 or
                                      304 is a page view. Addresses are not stored
                      json            an event per line, as POST /events takes it, with a timestamp; ip and user_agent
                                      tell visitors apart and are not stored
                      plausible-csv   daily totals: the CSV files of an export of Plausible. They replace those of the
                                      same kind that were imported before

exit codes
    0     imported; lines that could not be read are listed
    1     refused: no line could be read, no such site, or the like
    64    the command line is not understood
    75    the database is down or busy; run it again later
    78    an option, a path or a permission has to be corrected first
    130   interrupted by Ctrl-C (143: by SIGTERM)

example
    zcat -f access.log* | ringmain import --site=shop.example --format=combined -

Options are those of the service: as flags, in the environment, in a file by --env-file or --config.
\`ringmain analytics --help\` lists them.
`;

export async function runImport(service: AnyService, argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.length === 0) {
    (argv.length === 0 ? process.stderr : process.stdout).write(HELP);
    return argv.length === 0 ? exitCodes.usage : exitCodes.ok;
  }
  const configured = configure(service, Object.keys(service.roles), {
    argv,
    ownFlags: ['site', 'format'],
    switches: [],
  });
  const { own, words: files } = configured.loaded;
  const siteId = siteIdOf(own.get('site') ?? '');
  const format = formats.find((known) => known === own.get('format'));
  if (format === undefined)
    throw usage(`--format must be one of ${formats.join(', ')}: found=${own.get('format') ?? 'none'}`);
  if (files.length === 0) throw usage('ringmain import takes at least one file, or - for standard input: found=none');
  if (files.filter((file) => file === '-').length > 1) throw usage('standard input (-) can be read once');
  return withFaults(() => {
    const bytes = files.reduce((sum, file) => sum + (file === '-' ? 0 : statSync(file).size), 0);
    const job = { configured, service, siteId, format, files, bytes: files.includes('-') ? 0 : bytes };
    return onDatabase(
      service,
      configured,
      // Its transactions may wait for what comes on standard input.
      { applicationName: 'ringmain import', queryTimeoutMs: QUERY_MS_MAX, settings: silentHost },
      (link) => runOn(link, job),
    );
  });
}

interface Job {
  readonly configured: Configured;
  readonly service: AnyService;
  readonly siteId: string;
  readonly format: Format;
  readonly files: readonly string[];
  /** Of all files; 0: nobody knows. */
  readonly bytes: number;
}

async function runOn(link: PostgresLink, job: Job): Promise<number> {
  const interrupt = new Interrupt();
  const progress = new Progress(`import to ${job.siteId}`, job.bytes, 'bytes');
  try {
    const store = await ImportStore.open(link, loadOf(job), job.siteId);
    const report = new Report(say);
    const work = { files: job.files, interrupt, progress, report };
    if (job.format === 'plausible-csv') await importDays(link, store.site, work);
    else await importEvents(store, job, job.format, work);
    progress.clear();
    report.close();
    if (!interrupt.wanted) return report.useless ? exitCodes.failed : exitCodes.ok;
    say(
      job.format === 'plausible-csv'
        ? 'interrupted: nothing was changed'
        : 'interrupted: run the same command again, it adds what is missing',
    );
    return interrupt.exit;
  } finally {
    progress.clear();
    interrupt.close();
  }
}

export interface Work {
  readonly files: readonly string[];
  readonly interrupt: Pick<Interrupt, 'wanted'>;
  readonly progress: Pick<Progress, 'at'>;
  readonly report: Report;
}

async function importEvents(
  store: ImportStore,
  { siteId, configured }: Job,
  format: 'combined' | 'json',
  { files, interrupt, progress, report }: Work,
): Promise<void> {
  const { maxEventAgeMs, retentionDays } = (configured.values as unknown as AnalyticsValues).analytics;
  const lines = new EventLines({
    siteId,
    site: store.site,
    salt: await store.salt(),
    ageMsMax: oldestAgeMs(maxEventAgeMs, retentionDays),
    keptFromMs: await store.keptFromMs(now(), retentionDays),
    now,
  });
  let before = 0;
  for (const file of files) {
    report.begin(file === '-' ? 'standard input' : basename(file));
    lines.nextFile();
    let batch: Imported[] = [];
    let read = 0;
    const flush = async () => {
      if (batch.length > 0) report.added(await store.put(batch), batch.length);
      batch = [];
      progress.at(before + read, report.events);
    };
    for await (const { number, text, open } of linesOf(file, (bytes) => (read = bytes))) {
      // Cut within its last fields it may look whole, and the whole line would be another one in the next run.
      if (open && format === 'combined') {
        report.left();
        continue;
      }
      const found = text === undefined ? TOO_LONG : lines[format](text);
      report.line(number, found);
      if (typeof found === 'object') batch.push(found);
      if (batch.length === BATCH) await flush();
      if (interrupt.wanted) break;
      if (number % BATCH === 0) progress.at(before + read, report.events);
    }
    await flush();
    before += read;
    if (interrupt.wanted) return;
  }
  await store.forgetSalt();
}

/** The load of the processor, without what reads a topic. */
function loadOf({ configured, service }: Job): EventLoad {
  const values = configured.values as unknown as AnalyticsValues & { readonly kernel: KernelConfig };
  const log = createLog({ ...logTarget(values.kernel, 2), name: 'import' });
  const months = new MonthsOnDemand(dsnOf(service, configured), log);
  return new EventLoad({
    topics: [],
    lineBytesMax: Number.POSITIVE_INFINITY,
    ageMsMax: Number.POSITIVE_INFINITY,
    // Lines are judged when they are read.
    retentionDays: undefined,
    rollups: new Rollups(values.analytics),
    ensureMonths: (transaction, wanted) => months.ensure(transaction, wanted),
    visitors: new Visitors(),
    sourceOf,
    letters: { put: async () => {}, classify: () => undefined, close: async () => {} },
    told: { stored: () => {}, duplicates: () => {}, repeats: () => {}, rejected: () => {} },
    now,
  });
}
