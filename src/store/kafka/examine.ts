/**
 * What `ringmain doctor` asks a Kafka cluster for an output that reads topics: whether they are there, and the rights that
 * a member of the consumer group needs. It joins no group and commits nothing.
 */
import { error, type Finding, note, ok } from '../../kernel/finding.ts';
import type { KafkaConnectionConfig } from './config.ts';
import type { ConsumerOptions } from './consumer.ts';
import { KafkaFailure } from './failure.ts';
import { KafkaLinks } from './links.ts';
import { allows, groupRights, patiently, topicsWithRights } from './rights.ts';

const TOPIC_REFUSED = 29;
const GROUP_REFUSED = 'GROUP_AUTHORIZATION_FAILED';

/** `option`: what the operator calls KAFKA_BROKERS. */
export async function* examineReading(
  config: KafkaConnectionConfig,
  { topics, groupId }: Pick<ConsumerOptions, 'topics' | 'groupId'>,
  option: string,
): AsyncGenerator<Finding> {
  let links: KafkaLinks | undefined;
  try {
    links = new KafkaLinks(config, { clientId: 'ringmain-doctor' });
    yield* topicFindings(links, topics);
    yield await groupFinding(links, groupId, config.kafkaConnectTimeoutMs);
  } catch (cause) {
    const retry = cause instanceof KafkaFailure && cause.verdict === 'retry';
    yield error(
      String((cause as Error)?.message ?? cause),
      retry
        ? `Start the brokers, or correct ${option}; until then nothing is read.`
        : 'Fix the credentials, certificates or permissions named above; until then nothing is read.',
    );
  } finally {
    await links?.close();
  }
}

async function* topicFindings(links: KafkaLinks, names: readonly string[]): AsyncGenerator<Finding> {
  const { topics } = await topicsWithRights(links, names);
  for (const name of names) {
    const found = topics.find((topic) => topic.name === name);
    const refused = found?.errorCode === TOPIC_REFUSED;
    if (!refused && (found === undefined || found.partitions.length === 0)) {
      // Whoever writes to it makes it, or says why not.
      yield note(`topic ${name} is not there yet: its records are read once it is`);
      continue;
    }
    const may = refused ? false : allows(found!.topicAuthorizedOperations, 'read');
    if (may !== undefined)
      yield may
        ? ok(`permission to read topic ${name}`)
        : error(`no permission to read topic ${name}`, `Grant READ and DESCRIBE on topic ${name}.`);
  }
}

async function groupFinding(links: KafkaLinks, groupId: string, limitMs: number): Promise<Finding> {
  const may = await patiently(() => groupRights(links, groupId), limitMs).then(
    (operations) => allows(operations, 'read') ?? true,
    (cause: unknown) => {
      if (cause instanceof KafkaFailure && cause.code === GROUP_REFUSED) return false;
      throw cause;
    },
  );
  return may
    ? ok(`permission to read as consumer group ${groupId}`)
    : error(`no permission to read as consumer group ${groupId}`, `Grant READ on group ${groupId}.`);
}
