/**
 * Verdict: what an error code in the answer to a Produce request says about the batch. No code may end delivery for
 * ever, so each one is one of these:
 *
 *   the batch    too large, a time or a record that the broker refuses: halved at once (failure.ts: 'split')
 *   not it       the cluster, our rights, our numbers: the same batch again for as long as it takes. Readiness names
 *                the code, and what an operator puts right heals by itself
 *   doubtful     everything else, codes of later brokers and of gateways too: again DOUBTS_MAX times, for it may pass;
 *                then the batch is halved, and a record that is refused alone so often is a dead letter. So one bad
 *                record holds up the others for about twenty seconds, and a broker that refuses everything for an hour
 *                makes few dead letters
 */
import { failureOfCode, KafkaFailure, kafkaCode } from '../../store/kafka/failure.ts';

/** With the runner's back-off this takes about ten seconds. */
export const DOUBTS_MAX = 8;

/** Codes that blame somebody else for certain: no other batch would be taken either. */
const notTheBatch: ReadonlySet<number> = new Set([
  // The cluster is not well, or led by somebody else.
  ...[3, 5, 6, 7, 8, 9, 11, 13, 19, 20, 41, 56, 57, 72, 74, 75, 77, 78, 80, 83, 88, 89, 100, 103],
  // What we may do, how we log in, and what the topic and the broker are set up for.
  ...[17, 21, 29, 31, 33, 34, 35, 43, 53, 54, 58, 61, 62, 63, 64, 65, 66, 76, 97],
  // Our producer id and our sequence numbers.
  kafkaCode.outOfOrderSequence,
  kafkaCode.duplicateSequence,
  kafkaCode.invalidProducerEpoch,
  kafkaCode.invalidProducerIdMapping,
  kafkaCode.unknownProducerId,
  kafkaCode.producerFenced,
]);

export interface ProduceVerdict {
  readonly failure: KafkaFailure;
  readonly doubtful: boolean;
}

/** The failure that an answer to a Produce request stands for. `doubts`: doubtful answers to this batch before it. */
export function produceVerdict(code: number, where: string, detail: string | null, doubts: number): ProduceVerdict {
  const failure = failureOfCode(code, where, detail);
  if (failure.verdict === 'split' || notTheBatch.has(code)) return { failure, doubtful: false };
  const verdict = doubts < DOUBTS_MAX - 1 ? 'retry' : 'split';
  return { failure: new KafkaFailure(verdict, failure.code, failure.message), doubtful: true };
}
