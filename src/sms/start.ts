/** Start: what the start of a process refuses, and what it says to somebody who has started it by hand. */
import { directoryProblem } from '../kernel/config.ts';
import type { SmsValues } from './sms.ts';

const hasDsn = ({ postgres }: SmsValues): boolean => postgres.pgDsn !== undefined;
const withKafka = ({ kafka }: SmsValues): boolean => kafka.kafkaBrokers.length > 0;
const dsnNeeded = (why: string): string => `PG_DSN (or POSTGRES_HOST) must be set: ${why}`;

const alone = (role: string): string =>
  `KAFKA_BROKERS must be set when ${role} runs without ${role === 'api' ? 'worker' : 'api'}: without Kafka one process ` +
  'runs both (ringmain sms all)';

/** Keys need a pepper to be told from each other, and nothing is known without a database. */
export function apiProblems(values: SmsValues, roles: readonly string[]): readonly string[] {
  const { access, sms } = values;
  return [
    ...(hasDsn(values) ? [] : [dsnNeeded('customers, balances and messages are kept there')]),
    ...(access.keyPepper === undefined && sms.access === 'keys'
      ? [
          'KEY_PEPPER (or KEY_PEPPER_FILE) must be set: keys are kept as digests under it; openssl rand -hex 32 makes ' +
            'one. ACCESS=open does without keys',
        ]
      : []),
    ...(withKafka(values) || roles.includes('worker') ? [] : [alone('api')]),
    ...(values.sinks.onLag === 'drop'
      ? ['ON_LAG must be refuse: records of messages that are paid for would be thrown away']
      : []),
    ...(values.engine.journalDir === 'off'
      ? ['JOURNAL_DIR must be a folder: what has left the outbox waits there until the next part has it']
      : []),
  ];
}

/** Beside role api, that one asks for the database. */
export function workerProblems(values: SmsValues, roles: readonly string[]): readonly string[] {
  if (roles.includes('api')) return [];
  return [
    ...(hasDsn(values) ? [] : [dsnNeeded('messages to be sent are kept there')]),
    ...(withKafka(values) ? [] : [alone('worker')]),
  ];
}

/** Reports alone have no lanes that records come by. */
export function reportingProblems(values: SmsValues, roles: readonly string[]): readonly string[] {
  const single = roles.length === 1;
  if (values.reports.reports === 'off') return [];
  return [
    ...(single && !hasDsn(values) ? [dsnNeeded('keys and balances are read there')] : []),
    ...(single && !withKafka(values)
      ? ['KAFKA_BROKERS must be set: the role reporting alone reads its records from topics']
      : []),
  ];
}

/** The role partitions alone needs a database; with the others they ask for it. */
export function partitionProblems(values: SmsValues, roles: readonly string[]): readonly string[] {
  const { archiveDir } = values.partitions;
  const folder = archiveDir === undefined ? undefined : directoryProblem('ARCHIVE_DIR', archiveDir);
  return [
    ...(hasDsn(values) || roles.length > 1 ? [] : [dsnNeeded('partitions are made there')]),
    ...(folder === undefined ? [] : [folder]),
  ];
}

/** What somebody reads who has just started it by hand. */
export function welcome({ sms }: Pick<SmsValues, 'sms'>, at: string): readonly string[] {
  const admin =
    sms.adminKey === undefined
      ? 'off: ADMIN_KEY is not set; the command line still changes everything'
      : `on, by ADMIN_KEY: ${at}/v1/customers`;
  const message = `'{"customer_id":"acme","to":"+989121234567","text":"hello"}'`;
  return [
    `Ringmain SMS listens on ${at}`,
    `administrators   ${admin}`,
    'a first key      ringmain sms customer add acme --balance=1000; ringmain sms key add acme',
    `try              curl -i -H "X-API-Key: $KEY" -d ${message} ${at}/v1/sms/send`,
  ];
}
