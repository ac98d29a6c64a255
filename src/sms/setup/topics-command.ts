/** Tool `ringmain sms topics create`: makes the topics of the SMS gateway. */
import { errors, exitCodes } from '../../kernel/errors.ts';
import { configure } from '../../service/configured.ts';
import type { AnyService } from '../../service/contract.ts';
import { withFaults } from '../../service/tool/fault.ts';
import { usage } from '../../service/tool/flags.ts';
import { print, say } from '../../service/tool/output.ts';
import { askedOf, optionsOf, type Subcommand } from '../../service/tool/subcommand.ts';
import { KafkaFailure } from '../../store/kafka/failure.ts';
import { smsErrors } from '../errors.ts';
import type { SmsValues } from '../sms.ts';
import { createTopics } from './topics.ts';

const PARTITIONS_MAX = 100_000;
const REPLICAS_MAX = 100;

/** It has no outputs, which would ask for a database. */
const ROLE = 'partitions';

const create: Subcommand = {
  takes: '',
  summary: 'makes sms.accepted, sms.delivery, sms.express and sms.status',
  about: `Makes the topics that are missing, behind KAFKA_PREFIX; those that are there stay as they are. The processes make
them as well, when KAFKA_CREATE_TOPIC allows it. Messages of a customer are all in one partition: there can be as many workers as partitions.`,
  flags: {
    partitions: { value: 'N', text: 'partitions of each; KAFKA_PARTITIONS without it' },
    replication: { value: 'N', text: 'replicas of each partition; KAFKA_REPLICATION without it' },
  },
  exits: {
    [exitCodes.ok]: 'all of them are there',
    [exitCodes.failed]: 'the cluster refuses it',
    [exitCodes.temporary]: 'no broker can be reached; run it again later',
  },
  example: 'ringmain sms topics create --partitions=12 --replication=3',
};
const commands = { create };
const tool = {
  name: 'ringmain sms topics',
  about: 'The topics between the roles of the SMS gateway.',
  commands,
  options: optionsOf('sms'),
};

export async function runTopics(service: AnyService, argv: readonly string[]): Promise<number> {
  const asked = askedOf(tool, argv);
  if ('ends' in asked) return asked.ends;
  return withFaults(async () => {
    const { values, loaded } = configure(service, [ROLE], {
      argv: asked.rest,
      ownFlags: Object.keys(create.flags!),
      judge: (words) =>
        words.length === 0 ? undefined : `${tool.name} create takes no word: found=${words.join(' ')}`,
    });
    const { kafka, worker } = values as unknown as Pick<SmsValues, 'kafka' | 'worker'>;
    if (kafka.kafkaBrokers.length === 0) throw errors.CONFIG({ problems: ['KAFKA_BROKERS must be set'] });
    const wanted = {
      ...kafka,
      kafkaPartitions: countOf('--partitions', loaded.own.get('partitions'), PARTITIONS_MAX) ?? kafka.kafkaPartitions,
      kafkaReplication: countOf('--replication', loaded.own.get('replication'), REPLICAS_MAX) ?? kafka.kafkaReplication,
    };
    const made = await createTopics(wanted, worker.kafkaPrefix).catch((error: unknown) => {
      if (!(error instanceof KafkaFailure)) throw error;
      const row = error.verdict === 'retry' ? smsErrors.TOPICS_AWAY : smsErrors.TOPICS_REFUSED;
      throw row({ reason: error.message });
    });
    for (const { name, made: isNew } of made) print(`${name} ${isNew ? 'made' : 'is there'}`);
    say(`${made.filter(({ made: isNew }) => isNew).length} of ${made.length} topics were made`);
    return exitCodes.ok;
  });
}

function countOf(flag: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= max) return count;
  throw usage(`${flag} must be a whole number from 1 to ${max}: found=${text}`);
}
