/**
 * Acceptance: what an acceptor has to accept messages: the session, the gatherer of groups, ids, and what is counted.
 */
import { type Problem, problem, problemOf, RingmainError } from '../../kernel/errors.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { serviceErrors } from '../../service/errors.ts';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { faultOf } from '../../store/postgres/fault.ts';
import { UlidMaker, ulidMs } from '../message/ulid.ts';
import type { Carried } from '../operators/carried.ts';
import { carrierNames, carrierOf } from '../operators/names.ts';
import type { SmsValues } from '../sms.ts';
import type { Verdict } from './decide.ts';
import { Gatherer } from './gatherer.ts';
import { acceptGroup, type GroupRules, judgeGroup, type LockedCustomers } from './group.ts';
import { acceptedMetrics, acceptMetrics, type Refusal } from './metrics.ts';
import { GroupSession } from './session.ts';
import type { Wanted } from './wanted.ts';

export interface Acceptance {
  /**
   * The verdicts of a request, in its order, when they are committed. Never rejects; never resolves when `open` says
   * that the client has gone before its group began.
   */
  accept(wanted: readonly Wanted[], open: () => boolean): Promise<readonly Verdict[]>;
  /** What would be accepted now; nothing is. Rejects with what Postgres says. */
  judge(link: PostgresLink, wanted: readonly Wanted[]): Promise<readonly Verdict[]>;
  /** Counts messages of a batch that were refused for what they say. */
  refusedAtOnce(messages: number): void;
  gauges(): void;
  close(): void;
}

const reasons: Readonly<Record<string, Refusal>> = {
  CUSTOMER_UNKNOWN: 'unknown_customer',
  CUSTOMER_INACTIVE: 'inactive_customer',
  BALANCE_TOO_LOW: 'balance',
  NUMBER_NOT_CARRIED: 'not_carried',
  BACKLOG_FULL: 'backlog',
  IDEMPOTENCY_MISMATCH: 'key_mismatch',
  IDEMPOTENCY_IN_FLIGHT: 'key_in_flight',
  ACCEPT_BUSY: 'busy',
  CUSTOMER_BUSY: 'busy',
  ACCEPT_UNKNOWN: 'database',
  DATABASE_UNAVAILABLE: 'database',
};

export function openAcceptance(frame: AcceptorFrame<SmsValues>, carried: Carried): Acceptance {
  const { values, log, now, faults } = frame;
  const meters = frame.meters(acceptMetrics);
  const seconds = meters.balance_deduction_duration_seconds.at();
  const sizes = meters.sms_accept_group_messages.at();
  const accepted = frame.meters(acceptedMetrics(carrierNames(values))).sms_accepted_total;
  const carrier = carrierOf(values);
  const replays = meters.sms_replayed_total.at();
  const count = (reason: Refusal, messages: number): void => meters.sms_refused_total.at({ reason }).add(messages);

  const sessions = Array.from(
    { length: values.accept.acceptSessions },
    () => new GroupSession(values.postgres.pgDsn!, log),
  );
  const ids = new UlidMaker();
  const locked: LockedCustomers = new Set();
  const rules = (): GroupRules => ({
    costPer: values.accept.costPer,
    costPerSms: values.sms.costPerSms,
    backlogLimit: values.sms.backlogLimit,
    carries: (to) => carried.has(to),
    ids,
    nowMs: now(),
    timeOf: (messageId) => ulidMs(messageId)!,
  });

  const gatherer = new Gatherer({
    ...values.accept,
    commit: async (group, session) => {
      const link = await sessions[session]!.link();
      const begin = performance.now();
      const decision = await acceptGroup(link, group, rules(), locked);
      seconds.observe((performance.now() - begin) / 1000);
      sizes.observe(group.length);
      return decision;
    },
    failed,
  });

  /** What the server cannot do now may be repeated; anything else is a defect, told once a second. */
  function failed(error: unknown): Problem {
    if (error instanceof RingmainError) return problem(error);
    const fault = faultOf(error);
    if (fault === 'network' || fault === 'busy' || fault === 'moved')
      return problemOf(serviceErrors.DATABASE_UNAVAILABLE, {});
    faults.report(error);
    return problem(error);
  }

  function tell(wanted: readonly Wanted[], verdicts: readonly Verdict[]): void {
    verdicts.forEach((verdict, at) => {
      if (verdict.kind === 'accepted') accepted.at({ lane: verdict.lane, operator: carrier(wanted[at]!.to) }).add(1);
      else if (verdict.kind === 'replayed') replays.add(1);
      else count(reasons[verdict.problem.code] ?? 'other', 1);
    });
  }

  return {
    async accept(wanted, open) {
      if (wanted.length === 0) return [];
      const verdicts = await gatherer.accept(wanted, open);
      tell(wanted, verdicts);
      return verdicts;
    },
    judge: async (link, wanted) => (await judgeGroup(link, wanted, rules())).verdicts,
    refusedAtOnce: (messages) => {
      if (messages > 0) count('invalid', messages);
    },
    gauges: () => meters.sms_accept_waiting.at().set(gatherer.waiting),
    close: () => {
      for (const session of sessions) void session.drop();
    },
  };
}
