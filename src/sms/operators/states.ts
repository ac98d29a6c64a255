/**
 * States: how operators stand in each worker process and which numbers they carry, where the roles `reporting` and `api`
 * find it: in Postgres, because they may run on different hosts. A process tells its own rows every few seconds; rows that nobody has told again for
 * STALE_S are of a process that is gone, or cannot reach the database.
 */
import { randomUUID } from 'node:crypto';
import type { PostgresLink } from '../../store/postgres/connection.ts';
import type { OperatorStanding } from '../reports/contract.ts';
import type { Standing } from './contract.ts';

export const TELL_MS = 3000;
const STALE_S = 15;

export class StateTeller {
  readonly #open: () => Promise<PostgresLink>;
  readonly #operators: readonly Standing[];
  readonly #process = randomUUID();
  #link: PostgresLink | undefined;
  #telling = false;

  constructor(open: () => Promise<PostgresLink>, operators: readonly Standing[]) {
    this.#open = open;
    this.#operators = operators;
  }

  /** Never rejects: while the database is away, nobody is told. */
  async tell(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    try {
      if (this.#link === undefined || this.#link.broken !== undefined) this.#link = await this.#open();
      const rows = this.#operators.map((one) => ({
        operator: one.name,
        up: one.state() === 'up',
        breaker: one.breaker,
        in_flight: one.busy,
        prefixes: one.given.prefixes,
      }));
      await this.#link.query(
        `INSERT INTO sms_operator_states AS s (process, operator, up, breaker, in_flight, prefixes)
           SELECT $1::uuid, operator, up, breaker, in_flight, prefixes FROM jsonb_to_recordset($2::jsonb)
               AS r (operator text, up boolean, breaker text, in_flight int, prefixes text[])
           ON CONFLICT (process, operator) DO UPDATE SET up = excluded.up, breaker = excluded.breaker,
             in_flight = excluded.in_flight, told_at = now()`,
        [this.#process, JSON.stringify(rows)],
      );
      await this.#link.query('DELETE FROM sms_operator_states WHERE told_at < now() - make_interval(secs => $1)', [
        STALE_S,
      ]);
    } catch {
      // The loops of the delivery say that the database is away.
    } finally {
      this.#telling = false;
    }
  }

  /** Its rows go with it. */
  async close(): Promise<void> {
    const link = this.#link;
    if (link === undefined) return;
    if (link.broken === undefined)
      await link.query('DELETE FROM sms_operator_states WHERE process = $1', [this.#process]).catch(() => undefined);
    await link.close();
  }
}

/** Every operator that a worker tells of, by name. */
export async function readStandings(link: PostgresLink): Promise<readonly OperatorStanding[]> {
  const { rows } = await link.query<{ [K in keyof OperatorStanding]: OperatorStanding[K] }>(
    `SELECT operator, count(*)::int AS workers, count(*) FILTER (WHERE up)::int AS up,
       count(*) FILTER (WHERE breaker <> 'closed')::int AS open, sum(in_flight)::int AS in_flight
     FROM sms_operator_states WHERE told_at >= now() - make_interval(secs => $1) GROUP BY operator ORDER BY operator`,
    [STALE_S],
  );
  return rows;
}

/** Beginnings of numbers that operators of workers carry, each once. */
export async function readPrefixes(link: PostgresLink): Promise<readonly string[]> {
  const { rows } = await link.query<{ prefix: string }>(
    `SELECT DISTINCT prefix FROM sms_operator_states, unnest(prefixes) AS prefix
       WHERE told_at >= now() - make_interval(secs => $1)`,
    [STALE_S],
  );
  return rows.map(({ prefix }) => prefix);
}
