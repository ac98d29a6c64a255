/** Options of the worker: how fast it sends, how often it tries, and what it does when nobody knows what happened. */
import { type ConfigOf, defineConfig, duration, integer, oneOf, text } from '../../kernel/config.ts';

export const workerConfig = defineConfig('worker', {
  numWorkers: integer({
    yaml: 'worker.num_workers',
    default: 512,
    min: 4,
    max: 20_000,
    doc: 'Calls to operators that run at the same time, in each worker process.',
  }),
  queueSize: integer({
    yaml: 'worker.queue_size',
    default: 20_000,
    min: 64,
    max: 1_000_000,
    doc: 'Messages that a worker process holds in memory; the others stay in the database. About 400 bytes for each.',
  }),
  maxRetries: integer({
    yaml: 'worker.max_retries',
    default: 5,
    min: 0,
    max: 1000,
    doc:
      'How often a message is tried again that the operator would not take now, or has never taken. Then it has failed ' +
      'and is refunded. An operator that throttles, or cannot be reached, uses up none: messages wait for it as long as ' +
      'they are valid.',
  }),
  retryMs: duration({
    default: 1000,
    min: 10,
    max: 3_600_000,
    doc: 'Pause before the first retry; it doubles with each, up to RETRY_MAX_MS, and half of it is random.',
  }),
  retryMaxMs: duration({ default: 300_000, min: 10, max: 86_400_000, doc: 'Longest pause before a retry.' }),
  ratePerS: integer({
    default: 0,
    min: 0,
    max: 1_000_000,
    doc:
      'Messages per second of a customer that has no rate_per_s of its own; 0: as many as operators take. What is sent ' +
      'faster waits for its turn and is never refused.',
  }),
  expressDeadlineMs: duration({
    default: 1000,
    min: 1,
    max: 3_600_000,
    doc: 'Promised time of an express message from its acceptance until the operator has taken it.',
  }),
  expressMiss: oneOf(['count', 'credit'], {
    default: 'count',
    doc:
      'What an express message costs us that was late. count: it is counted. credit: its cost is credited as well, if it ' +
      'was paid for. The role api needs this too, and EXPRESS_DEADLINE_MS: a receipt may be the first word of an operator. The page of ' +
      'the role reporting shows EXPRESS_DEADLINE_MS.',
  }),
  expressShare: integer({
    default: 25,
    min: 0,
    max: 90,
    doc: 'Percent of NUM_WORKERS, and of the window of each operator, that only express messages may use.',
  }),
  callTimeoutMs: duration({
    default: 30_000,
    min: 100,
    max: 600_000,
    doc:
      'Longest wait for the answer of an operator, whatever its timeout_ms says; then nobody knows whether it has the ' +
      'message. So long after its last attempt the operator is asked, at the earliest: it may still be taking it.',
  }),
  unknownHoldS: integer({
    default: 3600,
    min: 1,
    max: 604_800,
    doc:
      'Seconds that a message waits for its receipt, or for the answer to a query, when nobody knows whether the ' +
      'operator has it. It is never sent again meanwhile. Then it ends as `unknown`.',
  }),
  unknown: oneOf(['refund', 'capture'], {
    default: 'refund',
    doc: 'What becomes of the money of a message that ends as `unknown`.',
  }),
  strandedAfterS: integer({
    default: 600,
    min: 10,
    max: 86_400,
    doc:
      'Seconds after which a message that was accepted and has reached no queue is handed over again: its host was ' +
      'lost with the records that it had not passed on.',
  }),
  kafkaPrefix: text({
    yaml: 'kafka.prefix',
    default: '',
    must: 'at most 64 letters, digits, dots, underscores and dashes',
    test: (value) => /^[A-Za-z0-9._-]{0,64}$/.test(value),
    doc:
      'What stands before the names of topics (sms.accepted and so on) and of consumer groups, like `staging.`: the same in ' +
      'every process of an installation. Two installations on one Kafka must not have the same: one would take what the ' +
      'other is to send.',
  }),
  kafkaGroupId: text({
    default: 'sms-worker',
    must: 'at most 240 characters',
    test: (value) => value.length <= 240,
    doc: 'Consumer group of the workers, behind KAFKA_PREFIX; the group of express messages has -express behind it.',
  }),
  kafkaSessionTimeoutMs: duration({
    default: 10_000,
    min: 1000,
    max: 600_000,
    doc: 'How long a worker may be silent before its partitions go to others.',
  }),
});
export type WorkerConfig = ConfigOf<typeof workerConfig>;
