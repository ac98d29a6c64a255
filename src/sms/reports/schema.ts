/** Schema of reports in ClickHouse: the folder of its migrations, and what of it goes by options. */
import type { ClickHouse } from '../../store/clickhouse/client.ts';
import { migrateClickHouse } from '../../store/clickhouse/migrate.ts';
import type { SmsValues } from '../sms.ts';
import { REPORTS_GROUP, reportTopics } from '../topics.ts';

const folder = new URL('migrations/', import.meta.url);

/** What the server reads by itself. */
export interface KafkaEngine {
  /** As the server reaches them. */
  readonly brokers: readonly string[];
  /** KAFKA_PREFIX */
  readonly prefix: string;
}

/** `engine`: the server reads the topics itself; undefined: somebody inserts. */
export function migrateReports(client: ClickHouse, engine: KafkaEngine | undefined): Promise<readonly string[]> {
  const { brokers, prefix } = engine ?? { brokers: [], prefix: '' };
  const values = {
    brokers: brokers.join(','),
    topics: reportTopics.map((topic) => prefix + topic).join(','),
    group: prefix + REPORTS_GROUP,
  };
  return migrateClickHouse(client, folder, { '002_create_kafka_engine': { on: engine !== undefined, values } });
}

/** Undefined with CLICKHOUSE_INGEST=http. */
export function engineOf({
  clickhouse,
  kafka,
  worker,
}: Pick<SmsValues, 'clickhouse' | 'kafka' | 'worker'>): KafkaEngine | undefined {
  const { clickhouseIngest, clickhouseKafkaBrokers } = clickhouse;
  if (clickhouseIngest !== 'kafka') return undefined;
  const brokers = clickhouseKafkaBrokers.length > 0 ? clickhouseKafkaBrokers : kafka.kafkaBrokers;
  return { brokers, prefix: worker.kafkaPrefix };
}
