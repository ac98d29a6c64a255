/**
 * Kafka sink: one batch of a strand becomes one record batch per partition, written from the slices and sent by an
 * idempotent producer.
 *   delivery   with KAFKA_ACKS=all each record once while this process lives. After a crash of this process at least
 *              once: records without a checkpoint go again under a new producer id (consumers know them by the event
 *              id)
 *              Limit: a broker that restarts while a batch of unknown outcome is on the way forgets producers whose
 *              newest record is older than a day (producer.id.expiration.ms). Such a backlog may have that batch twice
 *   order      records with the same key go to the same partition, in their order. The rest of a batch that was refused
 *              comes behind the batches that were under way with it
 *   time       of receipt, or of the event within a day before it (KAFKA_TIMESTAMP). A client's clock decides neither
 *              about refusal nor about retention; a wrong clock of ours, or the broker's, costs records their times
 *   progress   write() resolves when every in-sync replica has the batch; nothing else makes it durable
 *   bad event  too large, or refused for what it holds: the batch is halved until the event stands alone (dead letter).
 *              A code that may mean the event, or not, is tried again for about ten seconds first (verdict.ts)
 *   bad answer one that cannot be read costs its connection, and the batch goes again (store/kafka/answer.ts)
 *   outage     the source keeps what is not delivered; the same bytes go again with the same sequence numbers
 *   operator   wrong credentials or certificates, missing rights or topic: the runner tries again slowly, so a
 *              correction on the broker's side heals it. Readiness says what is wrong
 */
import type { SinkKind } from '../../delivery/contract.ts';
import { placeOf } from '../../kernel/place.ts';
import { parseAddress, usesTls } from '../../store/kafka/connection-options.ts';
import { KafkaFailure } from '../../store/kafka/failure.ts';
import { type KafkaConfig, kafkaConfig } from './config.ts';
import { KafkaTarget } from './target.ts';

const KiB = 1024;

export const kafkaSink: SinkKind<KafkaConfig> = {
  name: 'kafka',
  config: kafkaConfig,
  waits: 'event-loop',
  // Even incompressible, a batch of this size is below a broker's default message.max.bytes (1 MiB).
  batching: ({ kafkaLingerMs }) => ({ records: 5000, bytes: 768 * KiB, flushMs: kafkaLingerMs }),
  places: ({ kafkaBrokers }) => kafkaBrokers.map((broker) => placeOf(parseAddress(broker))),
  open: async (config, { name, log, lost }) => {
    const target = new KafkaTarget(config, clientId(name), log, lost);
    try {
      await target.open();
    } catch (error) {
      await target.close();
      throw error;
    }
    // Said once, after open() has succeeded: while the cluster is away the runner calls open() again and again.
    for (const warning of warningsOf(config)) log.warn(warning);
    return target;
  },
  classify: (error) => (error instanceof KafkaFailure ? error.verdict : 'stop'),
};

/**
 * Brokers name clients in quotas and logs. The output called kafka keeps the plain name; others have a name of their
 * own.
 */
const clientId = (output: string): string => (output === 'kafka' ? 'ringmain' : `ringmain-${output}`);

/** Warnings at the start about options that give a promise up. */
function warningsOf(config: KafkaConfig): string[] {
  const { kafkaAcks, kafkaTlsSkipVerify, kafkaSaslMechanism } = config;
  const warnings: string[] = [];
  if (kafkaAcks === '1') {
    warnings.push(
      'KAFKA_ACKS=1: a leader that is lost takes events with it that were counted as delivered; a retry may duplicate',
    );
  }
  if (kafkaAcks === '0') {
    warnings.push(
      'KAFKA_ACKS=0: nobody confirms anything; ' +
        'whenever a connection ends, events that were counted as delivered are lost',
    );
  }
  if (kafkaTlsSkipVerify) warnings.push('KAFKA_TLS_SKIP_VERIFY: anybody on the way can read and change events');
  if (kafkaSaslMechanism === 'plain' && !usesTls(config)) {
    warnings.push('KAFKA_SASL_MECHANISM=plain without TLS: anybody on the way can read the password');
  }
  return warnings;
}
