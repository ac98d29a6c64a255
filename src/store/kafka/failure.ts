/**
 * Failure: what a failed request to Kafka means. Each protocol error code, TLS error and network error becomes one of
 * the runner's verdicts. Code branches on `verdict` and `code`, never on text.
 *
 *   retry  the cluster or the network is not well now; the same request goes again
 *   split  the broker refuses what is in the record batch; halving finds the record
 *   stop   nothing helps but an operator: credentials, rights, certificates, a missing topic that may not be created
 */
import { GenericError, protocolErrors, protocolErrorsCodesById } from '@platformatic/kafka';

export type Verdict = 'retry' | 'split' | 'stop';

/** Protocol error codes that this project's code names. */
export const kafkaCode = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeaderOrFollower: 6,
  brokerNotAvailable: 8,
  messageTooLarge: 10,
  staleControllerEpoch: 11,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  illegalGeneration: 22,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  invalidTimestamp: 32,
  topicAlreadyExists: 36,
  invalidReplicationFactor: 38,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  logDirNotFound: 57,
  saslAuthenticationFailed: 58,
  invalidProducerIdMapping: 49,
  unknownProducerId: 59,
  staleBrokerEpoch: 77,
  memberIdRequired: 79,
  invalidRecord: 87,
  producerFenced: 90,
} as const;

/** Codes whose verdict differs from the library's `canRetry`: a sink or a consumer never gives up. */
const verdicts: Readonly<Record<number, Verdict>> = {
  [-1]: 'retry', // an unexpected error of the broker: Java's client gives up, but the source still has the records
  [kafkaCode.brokerNotAvailable]: 'retry',
  [kafkaCode.staleControllerEpoch]: 'retry',
  [kafkaCode.staleBrokerEpoch]: 'retry',
  [kafkaCode.logDirNotFound]: 'retry',
  [kafkaCode.messageTooLarge]: 'split',
  [kafkaCode.recordListTooLarge]: 'split',
  [kafkaCode.invalidTimestamp]: 'split',
  [kafkaCode.invalidRecord]: 'split',
  [kafkaCode.outOfOrderSequence]: 'retry',
  [kafkaCode.invalidProducerEpoch]: 'retry',
  [kafkaCode.invalidProducerIdMapping]: 'retry',
  [kafkaCode.unknownProducerId]: 'retry',
  [kafkaCode.producerFenced]: 'retry',
  // The group goes on without this member, or is about to: the consumer joins again.
  [kafkaCode.illegalGeneration]: 'retry',
  [kafkaCode.unknownMemberId]: 'retry',
  [kafkaCode.rebalanceInProgress]: 'retry',
  [kafkaCode.memberIdRequired]: 'retry',
};

export class KafkaFailure extends Error {
  readonly verdict: Verdict;
  /** Name of the protocol error, or of the cause: NOT_LEADER_OR_FOLLOWER, TIMEOUT, TLS, SASL ... */
  readonly code: string;

  constructor(verdict: Verdict, code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'KafkaFailure';
    this.verdict = verdict;
    this.code = code;
  }
}

/** The failure that a protocol error code stands for. */
export function failureOfCode(code: number, where: string, detail?: string | null): KafkaFailure {
  const name = protocolErrorsCodesById[code];
  const known = name === undefined ? undefined : protocolErrors[name];
  const verdict = verdicts[code] ?? (known && !known.canRetry ? 'stop' : 'retry');
  const text = detail || known?.message || 'an error code that this client does not know';
  return new KafkaFailure(verdict, name ?? `CODE_${code}`, `${where}: ${name ?? 'unknown error'} (${code}): ${text}`);
}

/** Names of OpenSSL and Node for a certificate or handshake that stays wrong until somebody changes it. */
const tlsCode = new RegExp(
  '^(ERR_(SSL|TLS|OSSL)_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|ERROR_IN_CERT_|' +
    '(HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|EPROTO)$)',
);

/** The failure that an error of the library, of TLS or of a socket stands for. */
export function failureOf(error: unknown, where: string): KafkaFailure {
  if (error instanceof KafkaFailure) return error;
  const chain = causes(error);
  for (const cause of chain) {
    if (cause instanceof KafkaFailure)
      return new KafkaFailure(cause.verdict, cause.code, `${where}: ${cause.message}`, error);
    if (typeof cause['apiCode'] === 'number') {
      const failure = failureOfCode(cause['apiCode'], where, text(cause['serverErrorMessage']));
      return new KafkaFailure(failure.verdict, failure.code, failure.message, error);
    }
  }
  const found = (test: (code: string) => boolean) => chain.find((cause) => test(text(cause['code']) ?? ''));
  const tls = found((code) => tlsCode.test(code));
  if (tls)
    return new KafkaFailure(
      'stop',
      'TLS',
      `${where}: TLS failed: ${text(tls['code'])}: ${text(tls['message'])}`,
      error,
    );
  const socket = found((code) => /^E(?!RR_)[A-Z_]+$/.test(code));
  if (socket)
    return new KafkaFailure('retry', text(socket['code']) ?? 'NETWORK', `${where}: ${text(socket['message'])}`, error);
  const words = chain
    .map((cause) => text(cause['message']))
    .filter(Boolean)
    .join(': ');
  // The innermost error of the library says what happened. These two codes stay until somebody acts: the broker
  // requires TLS, a SCRAM answer proves nothing, the mechanism is unknown.
  const innermost = text(chain.findLast((cause) => text(cause['code'])?.startsWith('PLT_KFK_'))?.['code']);
  if (innermost === 'PLT_KFK_USER' || innermost === 'PLT_KFK_AUTHENTICATION') {
    return new KafkaFailure('stop', 'REFUSED', `${where}: ${words}`, error);
  }
  if (error instanceof Error && !GenericError.isGenericError(error)) {
    return new KafkaFailure('stop', 'UNEXPECTED', `${where}: ${words}`, error); // a defect of this process
  }
  return new KafkaFailure('retry', 'NETWORK', `${where}: ${words}`, error);
}

function causes(error: unknown): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  const queue: unknown[] = [error];
  while (queue.length > 0 && found.length < 32) {
    const next = queue.shift();
    if (typeof next !== 'object' || next === null) continue;
    const fields = next as Record<string, unknown>;
    found.push(fields);
    queue.push(fields['cause']);
    if (Array.isArray(fields['errors'])) queue.push(...fields['errors']);
  }
  return found;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
