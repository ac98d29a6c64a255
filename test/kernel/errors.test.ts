import assert from 'node:assert/strict';
import { test } from 'vitest';
import {
  type ErrorCode,
  errors,
  errorsReference,
  errorTable,
  exitCodeOf,
  explain,
  problem,
  problemOf,
  RingmainError,
} from '../../src/kernel/errors.ts';

test('an error says what must hold and what was found, and carries code, status, retry and cause', () => {
  const cause = new Error('inner');
  const error = errors.BODY_TOO_LARGE({ bytes: 2_000_000, limit: 1_048_576 }, cause);
  assert.ok(error instanceof RingmainError && error instanceof Error);
  assert.equal(error.message, 'body exceeds the limit: bytes=2000000, limit=1048576');
  assert.deepEqual([error.code, error.status, error.retry, error.cause], ['BODY_TOO_LARGE', 413, false, cause]);
  assert.deepEqual(error.fields, { bytes: 2_000_000, limit: 1_048_576 });
});

test('a problem is RFC 9457 with a stable code and what was found', () => {
  assert.deepEqual(problem(errors.METHOD_NOT_ALLOWED({ method: 'PUT', allow: 'GET, HEAD' })), {
    type: 'urn:ringmain:problem:method-not-allowed',
    title: 'The route does not take this method',
    status: 405,
    code: 'METHOD_NOT_ALLOWED',
    detail: 'method must be one of GET, HEAD: method=PUT',
    method: 'PUT',
    allow: 'GET, HEAD',
  });
});

test('no field can replace a member of the problem', () => {
  const found = problemOf('INVALID_EVENT', { field: 'ts', must: 'x', found: 'y', ...{ status: 200, code: 'OK' } });
  assert.deepEqual([found.status, found.code], [400, 'INVALID_EVENT']);
});

test('nothing of our inside reaches a client', () => {
  for (const error of [
    new Error('password=hunter2'),
    'hunter2',
    null,
    errors.SINK_WRITE({ sink: 'postgres', reason: 'hunter2' }),
    errors.JOURNAL_WRITE({ path: '/hunter2', reason: 'ENOSPC' }, new Error('hunter2')),
    errors.CONFIG({ problems: ['hunter2'] }),
  ]) {
    const shown = problem(error);
    assert.doesNotMatch(JSON.stringify(shown), /hunter2/);
    assert.equal(shown.code, 'INTERNAL');
    assert.ok(shown.status >= 500);
  }
});

test('the table has the codes of the HTTP contract under their statuses, and temporary ones ask for a retry', () => {
  const statuses: Partial<Record<ErrorCode, number>> = {
    INVALID_JSON: 400,
    INVALID_EVENT: 400,
    ORIGIN_FORBIDDEN: 403,
    NOT_FOUND: 404,
    METHOD_NOT_ALLOWED: 405,
    BODY_TIMEOUT: 408,
    BODY_TOO_LARGE: 413,
    EVENT_TOO_LARGE: 413,
    BATCH_TOO_LARGE: 413,
    UNSUPPORTED_MEDIA_TYPE: 415,
    BACKPRESSURE: 429,
    INTERNAL: 500,
    WRITE_UNKNOWN: 503,
  };
  for (const [code, status] of Object.entries(statuses))
    assert.equal(errorTable[code as ErrorCode].status, status, code);
  for (const [code, row] of Object.entries(errorTable)) {
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
    assert.equal(row.retry, [408, 429, 503].includes(row.status), code);
    assert.match(row.title, /^[A-Z][^.]+$/, code);
  }
});

test('exit codes tell an operator whether a restart may help', () => {
  assert.equal(exitCodeOf(errors.CONFIG({ problems: ['x'] })), 78);
  assert.equal(exitCodeOf(errors.PORT_IN_USE({ address: ':19890' })), 78);
  assert.equal(exitCodeOf(errors.USAGE({ reason: 'x' })), 64);
  assert.equal(exitCodeOf(new Error('x')), 70);
});

test('a start that fails says one line per problem, and shows a stack only for a bug', () => {
  assert.deepEqual(explain(errors.CONFIG({ problems: ['A must be 1: found=2', 'B must be 3: found=4'] })), [
    'A must be 1: found=2',
    'B must be 3: found=4',
  ]);
  const cause = new Error('EACCES: permission denied');
  assert.deepEqual(explain(errors.JOURNAL_OPEN({ path: '/j', reason: 'EACCES' }, cause)), [
    'journal cannot be opened: path=/j, reason=EACCES: EACCES: permission denied',
  ]);
  assert.match(explain(new TypeError('bug'))[0]!, /^TypeError: bug\n +at /);
  assert.deepEqual(explain('gone'), ['gone']);
});

test("the README's table has a row per code that a client may meet and none that it cannot", () => {
  const table = errorsReference();
  assert.match(table, /^\| Status \| Code \| Send again \| Meaning \|$/m);
  assert.match(table, /^\| 413 \| `BODY_TOO_LARGE` \| no \| The body is too large \|$/m);
  assert.match(table, /^\| 429 \| `BACKPRESSURE` \| yes \|/m);
  assert.doesNotMatch(table, /JOURNAL|SINK|CONFIG/);
});
