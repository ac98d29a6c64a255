/** What each code in an answer to a Produce request leads to: no code may repeat a batch for ever that another batch waits for. */
import { protocolErrors } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { DOUBTS_MAX, produceVerdict } from '../../../src/sinks/kafka/verdict.ts';

const codeOf = (name: string): number => protocolErrors[name]!.code;

test('what a batch holds is halved at once', () => {
  for (const name of ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_TIMESTAMP', 'INVALID_RECORD'])
    expect(produceVerdict(codeOf(name), 'here', null, 0)).toMatchObject({
      doubtful: false,
      failure: { verdict: 'split' },
    });
});

// Goal: an operator's mistake, a cluster in trouble and numbers that the broker lost never make a dead letter.
test('what is no matter of the batch is tried again for ever, and says its name', () => {
  const names = [
    ...['NOT_LEADER_OR_FOLLOWER', 'NOT_ENOUGH_REPLICAS', 'KAFKA_STORAGE_ERROR', 'UNKNOWN_TOPIC_OR_PARTITION'],
    ...['TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED', 'UNSUPPORTED_COMPRESSION_TYPE'],
    ...['OUT_OF_ORDER_SEQUENCE_NUMBER', 'UNKNOWN_PRODUCER_ID', 'INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED'],
    ...['INVALID_PRODUCER_ID_MAPPING', 'THROTTLING_QUOTA_EXCEEDED', 'INVALID_TOPIC_EXCEPTION'],
  ];
  for (const name of names) {
    const { doubtful, failure } = produceVerdict(codeOf(name), 'here', 'reason', 1_000_000);
    expect([doubtful, failure.code, failure.message.includes('reason')]).toEqual([false, name, true]);
    expect(failure.verdict).not.toBe('split');
  }
});

test('every other code, known or not, is doubted so often and then halves the batch', () => {
  const codes = [...Object.values(protocolErrors).map(({ code }) => code), 128, 999, 31_999].filter(
    (code) => code !== 0 && produceVerdict(code, 'here', null, 0).doubtful,
  );
  for (const name of ['UNKNOWN_SERVER_ERROR', 'CORRUPT_MESSAGE', 'POLICY_VIOLATION', 'INVALID_REQUEST'])
    expect(codes).toContain(codeOf(name));
  expect(codes).toEqual(expect.arrayContaining([128, 999, 31_999]));
  for (const code of codes) {
    const verdicts = Array.from({ length: DOUBTS_MAX }, (_, doubts) => produceVerdict(code, 'here', null, doubts));
    expect(verdicts.map(({ failure }) => failure.verdict)).toEqual([
      ...Array.from({ length: DOUBTS_MAX - 1 }, () => 'retry'),
      'split',
    ]);
  }
});
