/**
 * Routes of reports.
 *
 *   GET /v1/reports/minute | day   ?customer_id&from&to    a customer's key, or ADMIN_KEY; without customer_id: the
 *                                                          key's customer, or all of them
 *   GET /v1/reports/operators      ?from&to                ADMIN_KEY
 *   GET /v1/reports/top            ?from&to&limit          ADMIN_KEY; whole days
 *   GET /v1/reports/balances       ?limit                  ADMIN_KEY
 *   GET /v1/reports/standing                               ADMIN_KEY
 *   GET /v1/export                 ?format&customer_id&from&to    like minute; ACCESS=open never opens it
 */
import type { HttpRequest } from 'uWebSockets.js';
import { serializerOf } from '../../http/json.ts';
import type { Reply } from '../../http/reply.ts';
import type { Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import type { Bounded } from '../bounded.ts';
import { answerMsMax } from '../connections.ts';
import { type Caller, type CallerOf, mustActFor, mustAdminister, mustShowKey } from '../customers/contract.ts';
import type { SmsValues } from '../sms.ts';
import { told } from './away.ts';
import type { CustomerRow, LowBalance, OperatorReport, OperatorStanding, Ranged, TimeRow } from './contract.ts';
import { contentTypeOf, exported, exportFormats, writeAll } from './export.ts';
import { LOWEST_MAX } from './low-balances.ts';
import { type ReportName, reportNames, reportsMetrics } from './metrics.ts';
import { ExportPlaces } from './places.ts';
import { byDay, byMinute, byOperator, topCustomers } from './queries.ts';
import {
  atMost,
  countFrom,
  customerFrom,
  DAY_MS,
  isoOf,
  MINUTE_MS,
  type Parameter,
  parametersOf,
  type Range,
  rangeFrom,
  roundedOut,
  wordFrom,
  wrong,
} from './range.ts';
import { keptSince } from './retention.ts';
import {
  balanceReportSchema,
  operatorReportSchema,
  standingReportSchema,
  timeReportSchema,
  topReportSchema,
} from './schemas.ts';
import { LOW, REPORTS_WORKER, STANDING } from './standing.ts';

/** A week of minutes; ten years of days; a month of operators; a year and a day of messages. */
const MINUTES_MAX = 7 * 1440;
const DAYS_MAX = 3660;
const OPERATOR_DAYS_MAX = 31;
const EXPORT_DAYS_MAX = 366;
const TOP_MAX = 1000;
const TOP = 20;
/** A client that reads slowly holds a session of ClickHouse for so long at most. */
const EXPORT_MS_MAX = 3_600_000;
/** Longer than ClickHouse may take (queries.ts), where HTTP_WRITE_TIMEOUT says nothing. */
const TIMEOUT_MS = 25_000;
/** A question is given up this much later than its request: the answer's own limit says which option sets it. */
const ASKED_LONGER_MS = 1000;

const timeBody = serializerOf<Ranged<TimeRow> & { readonly customer_id: string | null }>(timeReportSchema);
const operatorBody = serializerOf<OperatorReport>(operatorReportSchema);
const topBody = serializerOf<Ranged<CustomerRow>>(topReportSchema);
const standingBody = serializerOf<{ readonly rows: readonly OperatorStanding[] }>(standingReportSchema);
const balanceBody = serializerOf<{ readonly rows: readonly LowBalance[] }>(balanceReportSchema);

type Frame = Pick<AcceptorFrame<SmsValues>, 'ask' | 'meters' | 'faults' | 'values'>;
type Answer = (reply: Reply, parameter: Parameter, caller: Caller) => Promise<void>;

/** The customer that the report is of; undefined: all of them. */
function subject(caller: Caller, parameter: Parameter): string | undefined {
  mustShowKey(caller);
  const asked = customerFrom(parameter);
  if (asked !== undefined) mustActFor(caller, asked);
  return asked ?? (caller.kind === 'customer' ? caller.customerId : undefined);
}

const shown = ({ from, to }: Range) => ({ from: isoOf(from), to: isoOf(to) });

export function reportRoutes(frame: Frame, client: ClickHouse, callerOf: CallerOf, bounded: Bounded): readonly Route[] {
  const cells = frame.meters(reportsMetrics);
  const timeoutMs = answerMsMax(frame.values, TIMEOUT_MS);
  const askMs = timeoutMs + ASKED_LONGER_MS;
  const places = new ExportPlaces();
  const seconds = new Map(
    reportNames.map((report) => [report, cells.ringmain_sms_report_seconds.at({ report })] as const),
  );

  /** The handler of a report: who asks, what is asked, how long it takes. */
  const handler = (report: ReportName, known: readonly string[], answer: Answer) =>
    bounded(
      async (reply, req: HttpRequest) => {
        const query = (req.getQuery() as string | undefined) ?? '';
        const caller = await callerOf(req);
        const started = performance.now();
        try {
          await answer(reply, parametersOf(query, known), caller);
        } catch (error) {
          throw told(error);
        } finally {
          seconds.get(report)?.observe((performance.now() - started) / 1000);
        }
      },
      { timeoutMs },
    );

  const overTime =
    (report: 'minute' | 'day', stepMs: number, stepsMax: number): Answer =>
    async (reply, parameter, caller) => {
      const customer = subject(caller, parameter);
      const range = atMost(roundedOut(rangeFrom(parameter), stepMs), stepMs, stepsMax, `${report}s`);
      const rows = await (report === 'minute' ? byMinute : byDay)(client, range, customer);
      reply.json(200, timeBody, { customer_id: customer ?? null, ...shown(range), rows });
    };

  const operators: Answer = async (reply, parameter, caller) => {
    mustAdminister(caller);
    const range = roundedOut(rangeFrom(parameter), MINUTE_MS);
    atMost(range, DAY_MS, OPERATOR_DAYS_MAX, 'days');
    const rows = await byOperator(client, range);
    const { expressDeadlineMs: express_deadline_ms } = frame.values.worker;
    reply.json(200, operatorBody, { ...shown(range), express_deadline_ms, rows });
  };

  const top: Answer = async (reply, parameter, caller) => {
    mustAdminister(caller);
    const range = atMost(roundedOut(rangeFrom(parameter), DAY_MS), DAY_MS, DAYS_MAX, 'days');
    const limit = countFrom(parameter, 'limit', TOP_MAX, TOP);
    reply.json(200, topBody, { ...shown(range), rows: await topCustomers(client, range, limit) });
  };

  const balances: Answer = async (reply, parameter, caller) => {
    mustAdminister(caller);
    const limit = countFrom(parameter, 'limit', LOWEST_MAX, TOP);
    const rows = await frame.ask(REPORTS_WORKER, { area: STANDING, what: LOW, input: { limit } }, askMs, 'reads');
    reply.json(200, balanceBody, { rows: rows as readonly LowBalance[] });
  };

  const standing: Answer = async (reply, _, caller) => {
    mustAdminister(caller);
    const rows = await frame.ask(REPORTS_WORKER, { area: STANDING, what: 'operators', input: null }, askMs, 'reads');
    reply.json(200, standingBody, { rows: rows as readonly OperatorStanding[] });
  };

  const exporting: Answer = async (reply, parameter, caller) => {
    const customer = subject(caller, parameter);
    const format = wordFrom(parameter, 'format', exportFormats);
    const range = rangeFrom(parameter);
    atMost(range, DAY_MS, EXPORT_DAYS_MAX, 'days');
    const kept = await keptSince(client);
    if (range.from < kept)
      throw wrong(
        'from',
        `not be before ${isoOf(kept)}: messages before it are gone, their sums are not`,
        isoOf(range.from),
      );
    const ended = new AbortController();
    const late = AbortSignal.timeout(EXPORT_MS_MAX);
    const signal = AbortSignal.any([ended.signal, late, reply.signal]);
    const begin = () => exported(client, format, range, customer, signal);
    const pieces = places.hold(customer ?? 'all customers', begin);
    // What is wrong with the question, or with ClickHouse, shows before anything is written.
    const first = await pieces.next();
    const name = `sms-${customer ?? 'all'}-${isoOf(range.from)}.${format}`.replaceAll(/[^\w.-]+/g, '_');
    const headers = { 'Content-Disposition': `attachment; filename="${name}"` };
    const stream = reply.stream(200, contentTypeOf(format), headers, () => ended.abort());
    if (stream === undefined) await pieces.return(undefined);
    else await writeAll(stream, first, pieces, (error) => (late.aborted ? undefined : frame.faults.report(error)));
  };

  const ranged = ['from', 'to'];
  const one = (name: ReportName, path: string, known: readonly string[], answer: Answer): Route => ({
    name,
    path,
    on: { GET: handler(name, known, answer) },
  });
  return [
    one('minute', '/v1/reports/minute', [...ranged, 'customer_id'], overTime('minute', MINUTE_MS, MINUTES_MAX)),
    one('day', '/v1/reports/day', [...ranged, 'customer_id'], overTime('day', DAY_MS, DAYS_MAX)),
    one('operators', '/v1/reports/operators', ranged, operators),
    one('top', '/v1/reports/top', [...ranged, 'limit'], top),
    one('balances', '/v1/reports/balances', ['limit'], balances),
    one('standing', '/v1/reports/standing', [], standing),
    { ...one('export', '/v1/export', [...ranged, 'customer_id', 'format'], exporting), streams: true },
  ];
}
