/** How fast does the SMS gateway hand over a backlog, how fairly, and what does a flood do to express messages? */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Question } from '../rig/bench.ts';
import type { SmsDrained } from '../rig/sms-drain.ts';
import { percentile } from '../rig/stats.ts';
import { count, us } from '../rig/table.ts';

/** Ports of the rig: the gateway, Postgres, the operator, the gateway's reports. */
const PORTS = 4;

export const smsWorker: Question = {
  name: 'sms-worker',
  asks: 'One process of the SMS gateway hands a backlog to a simulated operator (20 ms an answer) out of a durable Postgres, all on the same two cores; then one customer floods it while another sends express messages; then the operator is away for a minute.',
  async answer(bench) {
    const messages = bench.short ? 10_000 : bench.long ? 1e6 : 1e5;
    const { dir, port } = bench.place();
    for (let taken = 1; taken < PORTS; taken++) bench.place();
    const script = join(bench.tree, 'native-bench/rig/sms-drain.ts');
    const awayMs = bench.short ? 3000 : 60_000;
    const args = [script, join(bench.tree, 'dist/main.js'), dir, port, messages, awayMs].map(String);
    const out = execFileSync('taskset', ['-c', '0,1', process.execPath, ...args], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    const drained = JSON.parse(out) as SmsDrained;
    const { perSecond, gatewayUs, postgresUs, fairness, expressMs, floodPerSecond, twice, outage, differences } =
      drained;
    const [p50, p99] = [percentile(expressMs, 0.5), percentile(expressMs, 0.99)];
    return {
      tables: [
        {
          title: `Deliveries out of a backlog of ${count(messages)}`,
          head: ['', 'messages/s', 'gateway, us CPU', 'Postgres, us CPU'],
          rows: [
            ['1,000 customers', count(perSecond), us(gatewayUs), us(postgresUs)],
            ['one customer, beside express', count(floodPerSecond), '', ''],
          ],
        },
        {
          title: `Express beside the flood, from acceptance to the operator's answer, ${count(expressMs.length)} messages`,
          head: ['p50', 'p99', 'most'],
          rows: [[p50, p99, expressMs.at(-1)!].map((ms) => `${us(ms)} ms`)],
        },
        {
          title: `The operator is away for ${outage.awayMs / 1000} s, while ${count(outage.sent)} messages are sent in all, 200 a second`,
          head: ['answers before, p99', 'while it is away, p99', 'not 200', 'waited', 'handed over after'],
          rows: [
            [
              ...[outage.beforeMs, outage.whileMs].map((ms) => `${us(percentile(ms, 0.99))} ms`),
              ...[count(outage.refused), count(outage.waited), `${us(outage.drainS)} s`],
            ],
          ],
        },
      ],
      notes: [
        `When half was sent, customers had between ${us(100 * fairness[0])} and ${us(100 * fairness[1])} % of their equal part. The operator took ${twice} messages twice.`,
        'What waited has been handed over when the last of it is: those whose answer was lost when the operator went, which are asked about after CALL_TIMEOUT_MS.',
      ],
      goals: [
        {
          goal: 'deliveries through a simulated operator, gateway, Postgres and operator on two cores',
          bound: 'least',
          limit: 5000,
          value: perSecond,
          unit: 'messages/s',
          headline: true,
        },
        {
          goal: 'express beside a flood: p99 from acceptance to the operator',
          bound: 'most',
          limit: 1000,
          value: p99,
          unit: 'ms',
          headline: true,
        },
        {
          goal: 'fairness among 1,000 customers: furthest from an equal part',
          bound: 'most',
          limit: 5,
          value: 100 * Math.max(1 - fairness[0], fairness[1] - 1),
          unit: '%',
        },
        { goal: 'messages that the operator took twice', bound: 'most', limit: 0, value: twice, unit: 'messages' },
        {
          goal: 'operator away: sends that are not answered 200',
          bound: 'most',
          limit: 0,
          value: outage.refused,
          unit: 'messages',
        },
        { goal: 'balances that differ from the ledger', bound: 'most', limit: 0, value: differences, unit: 'figures' },
      ],
      versions: [],
      raw: { ...drained },
    };
  },
};
