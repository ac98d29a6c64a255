import assert from 'node:assert/strict';
import { DatabaseError } from 'pg';
import { test } from 'vitest';
import { describeFault, faultOf } from '../../../src/store/postgres/fault.ts';

function answer(code: string): DatabaseError {
  const error = new DatabaseError('no', 2, 'error');
  error.code = code;
  return error;
}

test('a fault is told by SQLSTATE, its class where the code says nothing of its own', () => {
  const cases: Record<string, string> = {
    '08006': 'network',
    '57P01': 'network',
    '57P03': 'network',
    '25006': 'moved',
    '25P03': 'network',
    '40001': 'busy',
    '40P01': 'busy',
    '53100': 'busy',
    '53300': 'busy',
    '55P03': 'busy',
    '57014': 'busy',
    '58030': 'busy',
    XX000: 'busy',
    XX001: 'setup',
    '22P02': 'row',
    '22P05': 'row',
    '22003': 'row',
    '23502': 'row',
    '23514': 'row',
    '54001': 'row',
    P0001: 'row',
    '28P01': 'setup',
    '3D000': 'setup',
    '42501': 'setup',
    '42P01': 'setup',
    '42703': 'setup',
    '0A000': 'setup',
  };
  for (const [code, fault] of Object.entries(cases)) assert.equal(faultOf(answer(code)), fault, code);
});

test('what is no answer of a server is the network, also an error that merely has a code', () => {
  for (const error of [
    new Error('timeout expired'),
    Object.assign(new Error('x'), { code: 'EPIPE' }),
    'text',
    undefined,
  ]) {
    assert.equal(faultOf(error), 'network');
  }
});

test('the description has the code and the constraint and never the row', () => {
  const error = answer('23505');
  error.detail = 'Key (event_id)=(secret) already exists.';
  error.table = 'events';
  error.constraint = 'events_site_key';
  assert.equal(describeFault(error), 'no (SQLSTATE 23505, events.events_site_key)');
  assert.equal(describeFault(new AggregateError([new Error('a'), new Error('b')])), 'a; b');
});
