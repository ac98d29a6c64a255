/**
 * Routing: which operator gets a message. It chooses by the route table, and gives a place in the window and a piece of
 * the rate of an operator that is up. A message that an operator certainly did not take may be offered again, with that
 * operator among `tried`.
 */
import { Transitions } from '../../kernel/log.ts';
import type { OpenRouting, Routing } from './contract.ts';
import { type OperatorMeters, operatorMetrics, putStandings } from './metrics.ts';
import { operatorNames } from './names.ts';
import { type Driver, type OperatorEvents, OperatorLane } from './operator-lane.ts';
import type { GivenOperator } from './operator-option.ts';
import { RouteTable } from './route-table.ts';
import { SmppOperator } from './smpp/driver.ts';

/** When every operator of a message has been tried: ask again after this. */
const TRIED_WAIT_MS = 1000;

export class OperatorRouting implements Routing {
  readonly operators: readonly OperatorLane[];
  readonly #table: RouteTable<OperatorLane>;
  readonly #ended: () => void;

  constructor(operators: readonly OperatorLane[], ended: () => void = () => undefined) {
    this.operators = operators;
    this.#table = new RouteTable(operators);
    this.#ended = ended;
  }

  reserve(message: Parameters<Routing['reserve']>[0], tried: readonly string[]): ReturnType<Routing['reserve']> {
    let ms = Number.POSITIVE_INFINITY;
    const chosen = this.#table.choose(message.to, (operator) => {
      if (tried.includes(operator.name)) return false;
      const wait = operator.waitMs(message.lane);
      ms = Math.min(ms, wait);
      return wait === 0;
    });
    if (chosen === 'none')
      return { kind: 'none', reason: 'no operator of OPERATORS has a prefix that the number begins with' };
    if (chosen === 'wait') return { kind: 'wait', ms: Number.isFinite(ms) ? Math.ceil(ms) : TRIED_WAIT_MS };
    return chosen.take(message.segments);
  }

  async close(): Promise<void> {
    this.#ended();
    await Promise.all(this.operators.map((operator) => operator.close()));
  }
}

const TELL_MS = 1000;

/** Opens every operator of OPERATORS. Nothing is waited for: one that cannot be reached is away. */
export const openRouting: OpenRouting = async (values, { log, expressShare, receive, meters: metersOf }) => {
  const given = values.operators.operators;
  const meters = metersOf(operatorMetrics(operatorNames(values)));
  const told = new Transitions(log);
  const events = eventsOf(meters, told);
  // The client of HTTP is loaded only where an operator is asked by it.
  const http = given.some(({ driver }) => driver === 'http') ? await import('./http-driver.ts') : undefined;
  const driverOf = (one: GivenOperator): Driver =>
    one.driver === 'http'
      ? new http!.HttpOperator(one)
      : new SmppOperator(one, {
          receive,
          stray: () => meters.ringmain_sms_receipts_stray_total.at({ operator: one.name }).add(1),
          told: (away) => tellBind(told, one.name, away),
        });
  const operators = given.map((one) => new OperatorLane(one, driverOf(one), { events, expressShare }));
  const tell = (): void => {
    putStandings(meters, operators);
    told.look();
  };
  tell();
  const timer = setInterval(tell, TELL_MS).unref();
  return new OperatorRouting(operators, () => clearInterval(timer));
};

function eventsOf(meters: OperatorMeters, told: Transitions): OperatorEvents {
  const { ringmain_sms_operator_calls_total: calls, ringmain_sms_operator_call_seconds: seconds } = meters;
  return {
    ended(operator, outcome, ms) {
      calls.at({ operator, outcome }).add(1);
      seconds.at({ operator }).observe(ms / 1000);
    },
    failed: (operator, reason) =>
      told.down(`calls ${operator}`, 'an operator fails; its messages wait, or go to another', { operator, reason }),
    answered: (operator) => told.up(`calls ${operator}`, 'the operator answers again', { operator }),
  };
}

function tellBind(told: Transitions, operator: string, away: string | undefined): void {
  const key = `bind ${operator}`;
  if (away === undefined) told.up(key, 'bound to the SMSC of the operator', { operator });
  else told.down(key, 'not bound to the SMSC of the operator; it is tried again', { operator, reason: away });
}
