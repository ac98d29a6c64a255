/** What the runner does about each error follows from codes, never from text. */
import assert from 'node:assert/strict';
import {
  AuthenticationError,
  NetworkError,
  ProtocolError,
  protocolErrors,
  ResponseError,
  TimeoutError,
  UserError,
} from '@platformatic/kafka';
import { test } from 'vitest';
import { kafkaSink } from '../../../src/sinks/kafka/sink.ts';
import { failureOf, failureOfCode, KafkaFailure } from '../../../src/store/kafka/failure.ts';
import { openSink } from '../../sinks/kafka/events.ts';

const withCode = (code: string, message = 'text') => Object.assign(new Error(message), { code });

test('protocol errors: the table of verdicts', () => {
  const table: [string, string][] = [
    ['NOT_LEADER_OR_FOLLOWER', 'retry'],
    ['NOT_ENOUGH_REPLICAS', 'retry'],
    ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'retry'],
    ['REQUEST_TIMED_OUT', 'retry'],
    ['KAFKA_STORAGE_ERROR', 'retry'],
    ['UNKNOWN_TOPIC_OR_PARTITION', 'retry'],
    ['OUT_OF_ORDER_SEQUENCE_NUMBER', 'retry'],
    ['UNKNOWN_PRODUCER_ID', 'retry'],
    ['UNKNOWN_SERVER_ERROR', 'retry'],
    ['MESSAGE_TOO_LARGE', 'split'],
    ['RECORD_LIST_TOO_LARGE', 'split'],
    ['INVALID_RECORD', 'split'],
    ['INVALID_TIMESTAMP', 'split'],
    ['TOPIC_AUTHORIZATION_FAILED', 'stop'],
    ['CLUSTER_AUTHORIZATION_FAILED', 'stop'],
    ['SASL_AUTHENTICATION_FAILED', 'stop'],
    ['UNSUPPORTED_COMPRESSION_TYPE', 'stop'],
    ['POLICY_VIOLATION', 'stop'],
  ];
  for (const [name, verdict] of table) {
    const { code } = protocolErrors[name]!;
    const failure = failureOfCode(code, 'here');
    assert.deepEqual([failure.code, failure.verdict], [name, verdict]);
    assert.equal(kafkaSink.classify(failureOf(new ProtocolError(code), 'here')), verdict);
    assert.equal(kafkaSink.classify(failureOf(new ResponseError(0, 9, { '/': [code, null] }, {}), 'here')), verdict);
  }
  assert.equal(failureOfCode(31_999, 'here').verdict, 'retry', 'a code of a later Kafka');
});

test('network, TLS and login errors, however deep they are wrapped', () => {
  const wrapped = (cause: Error) => new NetworkError('Connection to x failed.', { cause });
  const cases: [Error, string, string][] = [
    [wrapped(withCode('ECONNREFUSED')), 'retry', 'ECONNREFUSED'],
    [wrapped(withCode('EAI_AGAIN')), 'retry', 'EAI_AGAIN'],
    [wrapped(withCode('ENOTFOUND')), 'retry', 'ENOTFOUND'],
    [new TimeoutError('Request timed out'), 'retry', 'NETWORK'],
    [wrapped(withCode('SELF_SIGNED_CERT_IN_CHAIN')), 'stop', 'TLS'],
    [wrapped(withCode('ERR_TLS_CERT_ALTNAME_INVALID')), 'stop', 'TLS'],
    [wrapped(withCode('CERT_HAS_EXPIRED')), 'stop', 'TLS'],
    [wrapped(withCode('ERR_SSL_WRONG_VERSION_NUMBER')), 'stop', 'TLS'],
    [wrapped(new AuthenticationError('Invalid server signature')), 'stop', 'REFUSED'],
    [new UserError('Broker requires TLS.'), 'stop', 'REFUSED'],
    // The connection ended in the middle of a login: that says nothing about the password.
    [
      wrapped(new AuthenticationError('SASL authentication failed.', { cause: new NetworkError('Connection closed') })),
      'retry',
      'NETWORK',
    ],
    [new TypeError('a defect of ours'), 'stop', 'UNEXPECTED'],
  ];
  for (const [error, verdict, code] of cases) {
    const failure = failureOf(error, 'here');
    assert.deepEqual([failure.verdict, failure.code], [verdict, code], error.message);
    assert.equal(failure.cause, error);
  }
  const same = new KafkaFailure('retry', 'X', 'x');
  assert.equal(failureOf(same, 'elsewhere'), same);
  assert.equal(kafkaSink.classify(new TypeError('a defect of ours')), 'stop');
});

test('a login without its user is refused before anything is sent', async () => {
  await assert.rejects(openSink({ KAFKA_SASL_MECHANISM: 'plain' }), { verdict: 'stop', message: /KAFKA_SASL_USER/ });
});
