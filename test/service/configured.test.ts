/**
 * Goal: an output that exists only with some values is there exactly then, for the process, its options and its help.
 * Method: a service of two outputs.
 */
import { expect, test } from 'vitest';
import analytics from '../../src/analytics/analytics.ts';
import gateway from '../../src/gateway/gateway.ts';
import { helpText } from '../../src/kernel/config.ts';
import { configure, possibleOutputs, setsOf } from '../../src/service/configured.ts';
import { defineService } from '../../src/service/contract.ts';
import type { KafkaConfig } from '../../src/sinks/kafka/config.ts';

const service = defineService({
  name: 'conditional',
  summary: 'two outputs, one of them only with Kafka',
  module: import.meta.url,
  config: [],
  defaults: { KAFKA_BROKERS: '' },
  aliases: { KAFKA_BROKER_URLS: 'KAFKA_BROKERS' },
  roles: {
    all: {
      summary: 'both',
      outputs: [
        { name: 'file', kind: 'log' },
        {
          name: 'topic',
          kind: 'kafka',
          when: {
            text: 'with KAFKA_BROKERS',
            holds: (values) => (values as unknown as { kafka: KafkaConfig }).kafka.kafkaBrokers.length > 0,
          },
        },
      ],
    },
  },
});
const configured = (env: Record<string, string>) => configure(service, ['all'], { env });

test('without its condition an output is left out of the default, for the process and for the tools', () => {
  const { outputs, values } = configured({});
  expect(outputs.map(({ name }) => name)).toEqual(['file']);
  expect(values.sinks.outputs).toEqual(['file']);
  expect(possibleOutputs(configured({})).map(({ name }) => name)).toEqual(['file']);
});

test('with it the output is there, unless OUTPUTS leaves it out', () => {
  const env = { KAFKA_BROKER_URLS: 'a:9092' };
  expect(configured(env).values.sinks.outputs).toEqual(['file', 'topic']);
  expect(configured({ ...env, OUTPUTS: 'file' }).values.sinks.outputs).toEqual(['file']);
});

test('who names it in vain is told what it needs', () => {
  expect(() => configured({ OUTPUTS: 'topic,file' })).toThrow('OUTPUTS may name topic only with KAFKA_BROKERS');
});

test('the help of OUTPUTS says when it exists', () => {
  expect(helpText(setsOf(service)).replace(/\s+/g, ' ')).toContain('topic exists only with KAFKA_BROKERS.');
});

test.each([
  ['analytics', analytics, { DATABASE_URL: 'postgres://a:99999/b' }, /^DATABASE_URL: port must be/],
  ['gateway', gateway, { DB_DSN: 'postgres://a:99999/b' }, /^DB_DSN: port must be/],
  ['gateway', gateway, { PG_DSN: 'postgres://a:99999/b' }, /^PG_DSN: port must be/],
  ['gateway', gateway, {}, /^output logs: DB_DSN must be set/m],
])('%s calls the DSN as it was given: %#', (_, of, env, told) => {
  expect(() => configure(of, Object.keys(of.roles), { env: env as Record<string, string> })).toThrow(told);
});

// Goal: `ringmain analytics api` and `ringmain analytics processor` run side by side without an option about it.
test('a role has defaults of its own where it runs alone', () => {
  const addressOf = (roles: readonly string[], more: Record<string, string> = {}) => {
    const env = { DATABASE_URL: 'postgres://localhost/analytics', KAFKA_BROKER_URLS: 'localhost:9092', ...more };
    return configure(analytics, roles, { env }).values.http.serverAddr;
  };
  expect([['api'], ['processor'], ['api', 'processor']].map((roles) => addressOf(roles))).toEqual([
    ':8080',
    ':8081',
    ':8080',
  ]);
  expect(addressOf(['processor'], { SERVER_ADDR: ':9000' })).toBe(':9000');
});

test('an option of another output is no misspelled one; a misspelled one is', () => {
  const warnings = (env: Record<string, string>) =>
    configure(analytics, ['api'], { env: { DATABASE_URL: 'postgres://localhost/analytics', ...env } }).loaded.warnings;
  expect(warnings({ LOG_PATH: '/data/events.ndjson' })).toEqual([]);
  expect(warnings({ LOG_PTH: '/data/events.ndjson' })).toEqual([expect.stringContaining('LOG_PTH is not an option')]);
});
