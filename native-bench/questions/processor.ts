/** How fast does one processor drain a backlog into Postgres with all rollups, beside an INSERT for each event? */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { kafkaVersion } from '../../test/servers/kafka.ts';
import type { Cost, Drained } from '../rig/analytics-drain.ts';
import type { Question } from '../rig/bench.ts';
import { median } from '../rig/stats.ts';
import { count, us } from '../rig/table.ts';

/** Ports of the rig: the processor, Postgres, and Kafka's three from the tenth on. */
const PORTS = 16;

const row = (name: string, { events, perSecond, clientUs, serverUs }: Cost): string[] => [
  name,
  count(events),
  count(perSecond),
  us(clientUs),
  us(serverUs),
  us(clientUs + serverUs),
];

export const processor: Question = {
  name: 'processor',
  asks: 'One processor of analytics drains a topic into a durable Postgres on the same two cores, with all rollups; beside it, the same events as the seed stores them: one INSERT each, without rollups.',
  async answer(bench) {
    const events = bench.short ? 30_000 : bench.long ? 10e6 : 7e5;
    const { dir, port } = bench.place();
    for (let taken = 1; taken < PORTS; taken++) bench.place();
    const script = join(bench.tree, 'native-bench/rig/analytics-drain.ts');
    const main = join(bench.tree, 'dist/main.js');
    const args = [script, main, dir, port, events, bench.short ? 500 : 20_000].map(String);
    // Client and server have both cores, as they would have on such a machine.
    const out = execFileSync('taskset', ['-c', '0,1', process.execPath, ...args], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    const { drain, plain, rssMiB, rollupRows } = JSON.parse(out) as Drained;
    const part = Math.ceil(rssMiB.length / 4);
    const rssMax = Math.max(...rssMiB);
    const [second, last] = [median(rssMiB.slice(part, 2 * part)), median(rssMiB.slice(-part))];
    return {
      tables: [
        {
          title: `A backlog of ${count(events)} events of one site in one partition`,
          head: ['', 'events', 'events/s', 'client, us CPU', 'server, us CPU', 'both, us CPU'],
          rows: [row('processor, rows and all rollups', drain), row('INSERT one by one, rows alone', plain)],
        },
      ],
      notes: [
        `Memory of the processor: ${us(second)} MiB in the second quarter of the time, ${us(last)} MiB in the last, ${us(rssMax)} MiB at most. ${count(rollupRows)} rows of rollups.`,
      ],
      goals: [
        {
          goal: 'one processor, Kafka to Postgres with all rollups, two cores for client and server',
          bound: 'least',
          limit: 20_000,
          value: drain.perSecond,
          unit: 'events/s',
          headline: true,
        },
        {
          goal: 'the same: CPU of client and server',
          bound: 'most',
          limit: 100,
          value: drain.clientUs + drain.serverUs,
          unit: 'us/event',
          headline: true,
        },
        {
          goal: 'the same: RSS of the processor',
          bound: 'most',
          limit: 300,
          value: rssMax,
          unit: 'MiB',
          headline: true,
        },
        {
          goal: 'the same: RSS of the last quarter beside the second',
          bound: 'most',
          limit: 1.1,
          value: last / second,
          unit: 'x',
        },
        {
          goal: 'INSERT one by one, rows alone, as the seed does it',
          bound: 'least',
          value: plain.perSecond,
          unit: 'events/s',
        },
      ],
      versions: [`Kafka ${kafkaVersion}`],
      raw: { drain, plain, rssMiB, rollupRows },
    };
  },
};
