/**
 * What `ringmain doctor` asks a Kafka cluster: names, connection with TLS and login, the topic, and the rights on it.
 * It writes nothing. Kafka has no question for a broker's clock; KAFKA_TIMESTAMP=received makes it matter less.
 */
import type { Naming } from '../../kernel/config.ts';
import { error, type Finding, note, ok, warning } from '../../kernel/finding.ts';
import { resolveFinding } from '../../kernel/resolve.ts';
import { parseAddress, usesTls } from '../../store/kafka/connection-options.ts';
import { KafkaFailure } from '../../store/kafka/failure.ts';
import { KafkaLinks } from '../../store/kafka/links.ts';
import { allows, patiently, topicsWithRights } from '../../store/kafka/rights.ts';
import { KafkaClient } from './client.ts';
import type { KafkaConfig } from './config.ts';
import { createTopic } from './create-topic.ts';

export interface KafkaExamination {
  /** What to do about a topic that is missing; undefined: KAFKA_TOPIC names it. */
  readonly topicAdvice?: string | undefined;
  /** What the operator calls an option. */
  readonly named: Naming;
}

export async function* examineKafka(
  config: KafkaConfig,
  { named, topicAdvice = `Create the topic, or correct ${named('KAFKA_TOPIC')}.` }: KafkaExamination,
): AsyncGenerator<Finding> {
  const option = named('KAFKA_BROKERS');
  const names = config.kafkaBrokers.map((broker) => resolveFinding(parseAddress(broker).host, option));
  for (const found of await Promise.all(names)) if (found !== undefined) yield found;
  if (config.kafkaSaslMechanism === 'plain' && !usesTls(config))
    yield warning('the password crosses the network in clear text (SASL plain without TLS)', 'Set KAFKA_TLS=true.');
  if (config.kafkaTlsSkipVerify)
    yield warning('broker certificates are not verified', 'Unset KAFKA_TLS_SKIP_VERIFY and set KAFKA_TLS_CA.');
  if (config.kafkaAcks !== 'all')
    yield warning(
      `KAFKA_ACKS=${config.kafkaAcks}: losing one broker loses events that count as delivered`,
      'Set KAFKA_ACKS=all.',
    );

  let links: KafkaLinks;
  try {
    links = new KafkaLinks(config, { clientId: 'ringmain-doctor' });
  } catch (cause) {
    yield failed(cause, option);
    return;
  }
  try {
    yield* topic(links, config, topicAdvice);
  } catch (cause) {
    yield failed(cause, option);
    return;
  } finally {
    await links.close();
  }
  const client = new KafkaClient(config, 'ringmain-doctor');
  try {
    if (config.kafkaAcks === 'all') await patiently(() => client.producerIdentity(), config.kafkaConnectTimeoutMs);
    yield note('Kafka does not report its time; keep the clocks of the brokers in sync with NTP');
  } catch (cause) {
    yield failed(cause, option);
  } finally {
    await client.close();
  }
}

async function* topic(links: KafkaLinks, config: KafkaConfig, advice: string): AsyncGenerator<Finding> {
  const name = config.kafkaTopic;
  const answer = await topicsWithRights(links, [name]);
  const login = config.kafkaSaslMechanism === undefined ? 'without authentication' : `as ${config.kafkaSaslUser}`;
  yield ok(`${answer.brokers.length} brokers answer ${login}${usesTls(config) ? ', over TLS' : ''}`);

  const found = answer.topics[0];
  if (found?.errorCode === 29) {
    yield error(
      `no permission to see topic ${name} (TOPIC_AUTHORIZATION_FAILED)`,
      `Grant WRITE and DESCRIBE on topic ${name}.`,
    );
    return;
  }
  if (found === undefined || found.partitions.length === 0) {
    yield* missing(links, config, advice);
    return;
  }
  const leaderless = found.partitions.filter(({ leaderId }) => leaderId < 0).length;
  yield leaderless === 0
    ? ok(`topic ${name} has ${found.partitions.length} partitions, each with a leader`)
    : error(
        `topic ${name}: ${leaderless} of ${found.partitions.length} partitions have no leader`,
        'Start the brokers that hold them.',
      );
  const alone = found.partitions.filter(({ replicaNodes }) => replicaNodes.length < 2).length;
  if (alone > 0 && answer.brokers.length > 1)
    yield warning(
      `topic ${name}: ${alone} partitions have a single replica and are lost with their broker`,
      'Give the topic a replication factor of 3.',
    );
  const may = allows(found.topicAuthorizedOperations, 'write');
  if (may === undefined) return;
  yield may
    ? ok(`permission to write to topic ${name}`)
    : error(`no permission to write to topic ${name}`, `Grant WRITE on topic ${name}.`);
}

/** A topic that is not there: whether the start could make it, asked without making it. */
async function* missing(links: KafkaLinks, config: KafkaConfig, advice: string): AsyncGenerator<Finding> {
  const { kafkaTopic: name } = config;
  if (!config.kafkaCreateTopic) {
    yield error(`topic ${name} does not exist, and KAFKA_CREATE_TOPIC=false`, advice);
    return;
  }
  const refused = await links.ask('create topic', (link) => createTopic(link, config, true));
  yield refused === undefined
    ? note(`topic ${name} does not exist yet; it is created at startup`)
    : error(
        `topic ${name} does not exist and cannot be created: ${refused.errorMessage ?? `error code ${refused.errorCode}`}`,
        `Create it, or grant CREATE; KAFKA_PARTITIONS and KAFKA_REPLICATION must suit the cluster.`,
      );
}

function failed(cause: unknown, option: string): Finding {
  const failure = cause instanceof KafkaFailure ? cause : undefined;
  const advice =
    failure?.verdict === 'retry'
      ? `Start the brokers, or correct ${option}; until then the journal keeps the events.`
      : 'Fix the credentials, certificates or permissions named above; delivery waits for them.';
  return error(String((cause as Error)?.message ?? cause), advice);
}
