/** Schema of reports in ClickHouse: the folder of its migrations, and what of it goes by options. */
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import { migrateClickHouse } from '../../store/clickhouse/migrate.ts';
import type { SmsValues } from '../sms.ts';

const folder = new URL('migrations/', import.meta.url);

/** `brokers`: the server reads the topics itself; undefined: somebody inserts. */
export function migrateReports(client: ClickHouse, brokers: readonly string[] | undefined): Promise<readonly string[]> {
  return migrateClickHouse(client, folder, {
    '002_create_kafka_engine': { on: brokers !== undefined, values: { brokers: (brokers ?? []).join(',') } },
  });
}

/** Brokers as the server reaches them; undefined with CLICKHOUSE_INGEST=http. */
export function engineBrokers({
  clickhouse,
  kafka,
}: Pick<SmsValues, 'clickhouse' | 'kafka'>): readonly string[] | undefined {
  const { clickhouseIngest, clickhouseKafkaBrokers } = clickhouse;
  if (clickhouseIngest !== 'kafka') return undefined;
  return clickhouseKafkaBrokers.length > 0 ? clickhouseKafkaBrokers : kafka.kafkaBrokers;
}
