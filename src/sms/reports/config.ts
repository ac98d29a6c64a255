/** Options of reports: where ClickHouse is, or its engine, and who feeds it. */
import { endpointProblem } from '../../http/endpoint.ts';
import {
  type ConfigOf,
  defineConfig,
  duration,
  integer,
  list,
  oneOf,
  path,
  secret,
  text,
} from '../../kernel/config.ts';
import { isHttpUrl } from '../../sinks/http/config.ts';

export const clickhouseConfig = defineConfig(
  'clickhouse',
  {
    clickhouseUrl: secret({
      doc: 'ClickHouse server for reports: http or https URL with login and database, http://user:password@host:8123/sms.',
      unset: 'its engine (chdb) runs in a process beside the role `reporting`, with its data in CLICKHOUSE_DIR',
      must: 'an http or https URL',
      test: isHttpUrl,
    }),
    clickhouseTlsCa: path({
      doc: 'PEM file with the CA certificates to trust for CLICKHOUSE_URL instead of those that come with Node.js.',
      unset: 'those that come with Node.js',
    }),
    clickhouseDir: path({
      default: './clickhouse',
      doc: 'Data of chdb. One process owns it. Without CLICKHOUSE_URL only.',
    }),
    clickhouseIngest: oneOf(['http', 'kafka'], {
      default: 'http',
      doc:
        'How records come into ClickHouse. http: this process inserts them. kafka: the server reads the topics by its ' +
        'Kafka engine; needs CLICKHOUSE_URL and KAFKA_BROKERS.',
    }),
    clickhouseKafkaBrokers: list({
      default: [],
      doc:
        'Brokers as the ClickHouse server reaches them, for CLICKHOUSE_INGEST=kafka; empty: those of KAFKA_BROKERS. Login ' +
        "and TLS stand in the server's own configuration.",
      must: 'host:port items',
      test: (item) => /^[\w.[\]:-]+:\d+$/.test(item),
    }),
    chdbDir: path({
      default: './chdb',
      doc: 'Where chdb (npm, 543 MB) is, or is fetched to once by npm. Without CLICKHOUSE_URL only.',
      yaml: 'clickhouse.chdb_dir',
    }),
    chdbPort: integer({
      default: 8124,
      min: 1,
      max: 65_535,
      doc: 'Loopback port that the process of chdb listens on. Without CLICKHOUSE_URL only.',
      yaml: 'clickhouse.chdb_port',
    }),
  },
  {
    sharedPrefixes: ['CLICKHOUSE_'],
    check: ({ clickhouseIngest, clickhouseUrl }, all) => {
      if (clickhouseIngest === 'http') return [];
      const brokers = (all['kafka']?.['kafkaBrokers'] as readonly string[] | undefined) ?? [];
      return [
        ...(clickhouseUrl === undefined ? ['CLICKHOUSE_URL must be set with CLICKHOUSE_INGEST=kafka'] : []),
        ...(brokers.length === 0 ? ['KAFKA_BROKERS must be set with CLICKHOUSE_INGEST=kafka'] : []),
      ];
    },
  },
);
export type ClickhouseConfig = ConfigOf<typeof clickhouseConfig>;

export const reportsConfig = defineConfig(
  'reports',
  {
    reports: oneOf(['on', 'off'], {
      default: 'on',
      doc: 'off: the role `reporting` keeps no reports and answers none, and neither ClickHouse nor chdb is needed.',
      yaml: 'reports.reports',
    }),
    reportingAddr: text({
      default: ':8081',
      doc: 'Where the role `reporting` listens, host:port.',
      must: 'host:port, :port or [v6]:port',
      test: (address) => endpointProblem(address) === undefined,
      yaml: 'reports.addr',
    }),
    reportsEveryMs: duration({
      default: 5000,
      min: 100,
      max: 3_600_000,
      doc:
        'Pause between two computations of the sums that reports read: how old a report is at most, beside the second ' +
        'that records are on their way. The pause grows with the time that a computation takes.',
    }),
    reportsRawDays: integer({
      default: 90,
      // A state may come as long as a message is valid, and be waited for, which is a week and some days.
      min: 14,
      max: 36_500,
      doc:
        'Days (UTC) for which ClickHouse keeps messages one by one, for exports and for states that come late. Older days ' +
        'are dropped; their sums by minute, day and operator stay.',
    }),
  },
  { prefix: 'REPORTS_' },
);
export type ReportsConfig = ConfigOf<typeof reportsConfig>;
