/**
 * Worker `reports`: sees to it that there is a ClickHouse (the process of chdb, without CLICKHOUSE_URL), that its
 * schema is that of this build, and that the sums follow the records. It stays ready while ClickHouse is away: messages
 * are accepted meanwhile, and their records wait in the log or the topic. Routes get 503 then, and the gauge says so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { textOf } from '../../kernel/place.ts';
import type { Worker, WorkerFrame } from '../../service/contract.ts';
import { openAnswering } from '../../service/database/answering.ts';
import type { Question } from '../../service/database/questions.ts';
import { ClickHouse } from '../../store/clickhouse/client.ts';
import { loginOf } from '../../store/clickhouse/login.ts';
import { ChangedMigration } from '../../store/clickhouse/migrate.ts';
import { openLink } from '../../store/postgres/connection.ts';
import { silentHost } from '../../store/postgres/vanishing.ts';
import type { SmsValues } from '../sms.ts';
import { told } from './away.ts';
import { type ChdbProcess, startChdb } from './chdb/child.ts';
import { provideChdb } from './chdb/library.ts';
import type { Balance, LowBalance } from './contract.ts';
import { LowBalances } from './low-balances.ts';
import { reportsMetrics } from './metrics.ts';
import { clickHousePlace, DATABASE, usesChdb } from './place.ts';
import { Retention } from './retention.ts';
import { Rollup } from './rollup.ts';
import { engineOf, migrateReports } from './schema.ts';
import { LOW, STANDING, standingAnswers } from './standing.ts';
import { Turn } from './turn.ts';

const RETRY_MS = [1000, 2000, 5000, 10_000, 30_000] as const;
/** A pass may take a fifth of the time: the pause behind it is four times as long as itself. */
const SHARE = 4;
const SESSIONS = 2;
/** To ClickHouse: a pass, and a look at balances beside it. */
const CONNECTIONS = 2;
/** Days go once a day: an hour more or less is nothing to them. */
const RETENTION_MS = 3_600_000;
/** How often low balances are counted. */
const BALANCES_MS = 60_000;

type Frame = Pick<WorkerFrame<SmsValues>, 'values' | 'log' | 'signal' | 'meters'> & {
  readonly client: ClickHouse;
  readonly low: LowBalances;
  /** Undefined: nobody else uses this ClickHouse, which is the chdb of this process. */
  readonly turn: Turn | undefined;
};

class Reports {
  readonly #frame: Frame;
  readonly #client: ClickHouse;
  readonly #rollup: Rollup;
  readonly #retention: Retention;
  /** When the next pass of it is due. */
  #retainAt = 0;
  /** When low balances are counted again. */
  #countAt = 0;
  readonly #meters: ReturnType<typeof metersOf>;
  #chdb: ChdbProcess | undefined;
  #isAway = false;
  #failures = 0;

  constructor(frame: Frame) {
    this.#frame = frame;
    this.#client = frame.client;
    this.#rollup = new Rollup(this.#client);
    this.#retention = new Retention(this.#client, frame.values.reports.reportsRawDays);
    this.#meters = metersOf(frame);
  }

  /** Until the signal fires. */
  async run(): Promise<void> {
    const { signal, values } = this.#frame;
    while (!signal.aborted) {
      let pause: number = values.reports.reportsEveryMs;
      try {
        await this.#prepare();
        for (;;) {
          pause = await this.#pass();
          await delay(pause, undefined, { signal });
          if (usesChdb(values) && this.#chdb === undefined) break;
        }
      } catch (error) {
        if (signal.aborted) break;
        pause = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)]!;
        this.#failures += 1;
        this.#tell(textOf(error), error instanceof ChangedMigration);
        await delay(pause, undefined, { signal }).catch(() => undefined);
      }
    }
    await this.#chdb?.end();
  }

  async #prepare(): Promise<void> {
    const { values, log, signal } = this.#frame;
    if (usesChdb(values) && this.#chdb === undefined) {
      await provideChdb(values.clickhouse.chdbDir, signal, (line) => log.info({ at: values.clickhouse.chdbDir }, line));
      const chdb = await startChdb({
        library: values.clickhouse.chdbDir,
        data: values.clickhouse.clickhouseDir,
        port: values.clickhouse.chdbPort,
        authorization: loginOf(clickHousePlace(values).url).authorization!,
        database: DATABASE,
      });
      this.#chdb = chdb;
      void chdb.ended.then(() => {
        this.#chdb = undefined;
        if (!signal.aborted) this.#tell('the process of chdb has ended; it is started again', false);
      });
    }
    const applied = await migrateReports(this.#client, engineOf(values));
    if (applied.length > 0) log.info({ migrations: applied }, 'the schema of reports is that of this build');
  }

  /** Returns the pause behind it, ms. */
  async #pass(): Promise<number> {
    const { values, signal } = this.#frame;
    const mine = (await this.#frame.turn?.mine()) ?? true;
    this.#meters.turn.set(mine ? 1 : 0);
    const started = performance.now();
    if (mine) this.#meters.minutes.add(await this.#rollup.pass(signal));
    else await this.#client.rows('SELECT 1');
    const ms = performance.now() - started;
    this.#failures = 0;
    this.#meters.up.set(1);
    if (mine) this.#meters.seconds.observe(ms / 1000);
    if (this.#isAway) this.#frame.log.info('ClickHouse answers: reports follow the records again');
    this.#isAway = false;
    if (mine && performance.now() >= this.#retainAt) await this.#retain();
    if (mine && performance.now() >= this.#countAt) await this.#countBalances();
    // Whose turn it is says how many they are.
    if (!mine) this.#tellLow({ hour: 0, day: 0 });
    return Math.max(values.reports.reportsEveryMs, SHARE * ms);
  }

  async #retain(): Promise<void> {
    const { log } = this.#frame;
    this.#retainAt = performance.now() + RETENTION_MS;
    try {
      const days = await this.#retention.pass();
      if (days.length > 0) log.info({ days }, 'messages of days past REPORTS_RAW_DAYS are gone; their sums stay');
    } catch (error) {
      // A login that may not drop keeps nobody from reports.
      log.warn({ reason: textOf(error) }, 'days past REPORTS_RAW_DAYS cannot be dropped; it is tried again in an hour');
    }
  }

  async #countBalances(): Promise<void> {
    this.#countAt = performance.now() + BALANCES_MS;
    // Without Postgres the last figures stand; everything else says that it is away.
    const found = await this.#frame.low.lowest().catch(() => undefined);
    if (found === undefined) return;
    this.#tellLow(found);
  }

  #tellLow({ hour, day }: { readonly hour: number; readonly day: number }): void {
    this.#meters.low.at({ within: 'hour' }).set(hour);
    this.#meters.low.at({ within: 'day' }).set(day);
  }

  #tell(reason: string, severe: boolean): void {
    this.#meters.up.set(0);
    if (this.#isAway) return;
    this.#isAway = true;
    const { log } = this.#frame;
    if (severe) log.error({ reason }, 'reports need an operator');
    else log.warn({ reason }, 'ClickHouse cannot be used: reports are answered with 503, and records wait');
  }
}

function metersOf({ meters }: Frame) {
  const cells = meters(reportsMetrics);
  return {
    up: cells.ringmain_sms_reports_up.at(),
    seconds: cells.ringmain_sms_rollup_seconds.at(),
    minutes: cells.ringmain_sms_rollup_minutes_total.at(),
    low: cells.ringmain_sms_balances_low,
    turn: cells.ringmain_sms_rollup_turn.at(),
  };
}

/** Servers are shared by processes; the chdb of a process is not. */
function turnOf(values: SmsValues): Turn | undefined {
  const { pgDsn } = values.postgres;
  if (usesChdb(values) || pgDsn === undefined) return undefined;
  const { place, database } = loginOf(clickHousePlace(values).url);
  const applicationName = 'ringmain-sms-reports-turn';
  return new Turn(() => openLink(pgDsn, { applicationName, settings: silentHost }), `${place}/${database}`);
}

export default {
  async run(frame) {
    const { values, log, signal, serve, ready } = frame;
    const answering = openAnswering({
      dsn: values.postgres.pgDsn ?? '',
      applicationName: 'ringmain-sms-reports',
      sessions: SESSIONS,
      areas: { [STANDING]: standingAnswers },
      log,
    });
    const balances = async (customers: readonly string[]): Promise<readonly Balance[]> =>
      (await answering.answer({ area: STANDING, what: 'balances', input: { customers } })) as readonly Balance[];
    const client = new ClickHouse({ ...clickHousePlace(values), connections: CONNECTIONS });
    const low = new LowBalances(client, balances, values.reports.reportsEveryMs);
    const lowest = async ({ limit }: { readonly limit: number }): Promise<readonly LowBalance[]> => {
      try {
        return (await low.lowest()).rows.slice(0, limit);
      } catch (error) {
        throw told(error);
      }
    };
    serve((asked) => {
      const { what, input } = asked as Question;
      // Not by a session of the pool: it asks for some itself.
      return what === LOW ? lowest(input as { limit: number }) : answering.answer(asked);
    }, SESSIONS);
    ready();
    const turn = turnOf(values);
    await new Reports({ values, log, signal, meters: frame.meters, client, low, turn }).run();
    await turn?.close();
    await client.close();
    await answering.close();
  },
} satisfies Worker<SmsValues>;
