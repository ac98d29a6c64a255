import assert from 'node:assert/strict';
import { test } from 'vitest';
import { deliveryErrors } from '../../src/delivery/errors.ts';
import { engineErrors } from '../../src/engine/errors.ts';
import { eventErrors } from '../../src/events/errors.ts';
import { httpErrors } from '../../src/http/errors.ts';
import {
  answer,
  defineErrors,
  errorKinds,
  errorOf,
  errors,
  errorsReference,
  exitCodeOf,
  exitCodes,
  exitRows,
  explain,
  failureOf,
  problem,
  problemOf,
  RingmainError,
} from '../../src/kernel/errors.ts';
import { errorSets } from './error-sets.ts';

test('an error says what must hold and what was found, and carries code, status, retry and cause', () => {
  const cause = new Error('inner');
  const error = httpErrors.BODY_TOO_LARGE({ bytes: 2_000_000, limit: 1_048_576 }, cause);
  assert.ok(error instanceof RingmainError && error instanceof Error);
  assert.equal(error.message, 'body exceeds the limit: bytes=2000000, limit=1048576');
  assert.deepEqual([error.code, error.status, error.retry, error.cause], ['BODY_TOO_LARGE', 413, false, cause]);
  assert.deepEqual(error.fields, { bytes: 2_000_000, limit: 1_048_576 });
});

test('a problem is RFC 9457 with a stable code and what was found', () => {
  assert.deepEqual(problem(httpErrors.METHOD_NOT_ALLOWED({ method: 'PUT', allow: 'GET, HEAD' })), {
    type: 'urn:ringmain:problem:method-not-allowed',
    title: 'The route does not support this method',
    status: 405,
    code: 'METHOD_NOT_ALLOWED',
    detail: 'method must be one of GET, HEAD: method=PUT',
    method: 'PUT',
    allow: 'GET, HEAD',
  });
});

test('no field can replace a member of the problem', () => {
  const found = problemOf(eventErrors.INVALID_EVENT, {
    field: 'ts',
    must: 'x',
    found: 'y',
    ...{ status: 200, code: 'OK' },
  });
  assert.deepEqual([found.status, found.code], [400, 'INVALID_EVENT']);
});

test('nothing of our inside reaches a client', () => {
  for (const error of [
    new Error('password=hunter2'),
    'hunter2',
    null,
    deliveryErrors.SINK_WRITE({ sink: 'postgres', reason: 'hunter2' }),
    engineErrors.JOURNAL_OPEN({ path: '/hunter2', reason: 'ENOSPC' }, new Error('hunter2')),
    errors.CONFIG({ problems: ['hunter2'] }),
  ]) {
    const shown = problem(error);
    assert.doesNotMatch(JSON.stringify(shown), /hunter2/);
    assert.equal(shown.code, 'INTERNAL');
    assert.ok(shown.status >= 500);
  }
});

test('the table has the codes of the HTTP contract under their statuses, and temporary ones ask for a retry', () => {
  const statuses: Readonly<Record<string, number>> = {
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
    KEY_EXPIRED: 401,
    SIGNATURE_INVALID: 401,
    USER_INACTIVE: 403,
    SCOPE_MISSING: 403,
    NETWORK_FORBIDDEN: 403,
    SOURCE_FORBIDDEN: 403,
    PICTURE_UNKNOWN: 404,
    PICTURE_UNFIT: 422,
    UPLOAD_UNKNOWN: 415,
    UPLOAD_PIXELS: 413,
    STORAGE_EXCEEDED: 413,
    LOGS_TOO_SLOW: 503,
    UPLOADS_FULL: 507,
    RATE_LIMITED: 429,
    QUOTA_EXCEEDED: 429,
    BACKEND_FAILED: 502,
    NO_BACKEND: 503,
    BACKENDS_BUSY: 503,
    BACKEND_TIMEOUT: 504,
    BALANCE_TOO_LOW: 402,
    NUMBER_NOT_CARRIED: 422,
    CUSTOMER_INACTIVE: 403,
    CUSTOMER_UNKNOWN: 404,
    MESSAGE_UNKNOWN: 404,
    IDEMPOTENCY_IN_FLIGHT: 409,
    IDEMPOTENCY_MISMATCH: 422,
    AMOUNT_TOO_LARGE: 422,
    DEBIT_TOO_LARGE: 422,
    BACKLOG_FULL: 429,
    ACCEPT_BUSY: 503,
    REPORTS_AWAY: 503,
    ACCEPT_UNKNOWN: 503,
  };
  const kinds = errorKinds(errorSets);
  for (const [code, status] of Object.entries(statuses))
    assert.equal(kinds.find((kind) => kind.code === code)?.status, status, code);
  for (const { code, retry, status, title } of kinds) {
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
    // The request that is under way ends, and then the same one gets its answer.
    const passes = code === 'IDEMPOTENCY_IN_FLIGHT';
    assert.equal(retry, passes || [408, 429, 502, 503, 504, 507].includes(status), code);
    assert.match(title, /^[A-Z][^.]+$/, code);
  }
});

test('exit codes tell an operator whether a restart may help', () => {
  assert.equal(exitCodeOf(errors.CONFIG({ problems: ['x'] })), 78);
  assert.equal(exitCodeOf(httpErrors.PORT_IN_USE({ address: ':19890' })), 75);
  assert.equal(exitCodeOf(errors.USAGE({ reason: 'x' })), 64);
  assert.equal(exitCodeOf(new Error('x')), 70);
});

test('a start that fails says one line per problem, and shows a stack only for a bug', () => {
  assert.deepEqual(explain(errors.CONFIG({ problems: ['A must be 1: found=2', 'B must be 3: found=4'] })), [
    'A must be 1: found=2',
    'B must be 3: found=4',
  ]);
  const cause = new Error('EACCES: permission denied');
  assert.deepEqual(explain(engineErrors.JOURNAL_OPEN({ path: '/j', reason: 'EACCES' }, cause)), [
    'journal cannot be opened: path=/j, reason=EACCES: EACCES: permission denied',
  ]);
  assert.match(explain(new TypeError('bug'))[0]!, /^TypeError: bug\n +at /);
  assert.deepEqual(explain('gone'), ['gone']);
});

test("the README's table has a row per code that a client may meet and none that it cannot", () => {
  const table = errorsReference(errorSets);
  assert.match(table, /^\| Status \| Code \| Retry \| Meaning \|$/m);
  assert.match(table, /^\| 413 \| `BODY_TOO_LARGE` \| no \| The body is too large \|$/m);
  assert.match(table, /^\| 429 \| `BACKPRESSURE` \| yes \|/m);
  assert.doesNotMatch(table, /JOURNAL|SINK|CONFIG/);
});

test('a code belongs to one room, and its name is UPPER_SNAKE', () => {
  const one = defineErrors('one', { TAKEN: answer(400, false, 'Taken', () => 'taken') });
  const two = defineErrors('two', { TAKEN: answer(400, false, 'Taken', () => 'taken') });
  assert.throws(() => errorKinds([one, two]), /TAKEN is declared twice: one and two/);
  assert.throws(() => defineErrors('one', { Taken: answer(400, false, 'x', () => 'x') }), /Taken is not UPPER_SNAKE/);
});

// Goal: main acts on a worker's error as on its own. Method: the copy that postMessage makes, made again into an error.
test('an error crosses from a thread to main with code, status, retry, exit code, text and fields', () => {
  const sent = httpErrors.PORT_IN_USE({ address: ':1' }, new Error('stays behind'));
  const got = errorOf(structuredClone(failureOf(sent)));
  assert.ok(got instanceof RingmainError);
  assert.deepEqual(
    [got.code, got.status, got.retry, got.exit, got.message, got.fields],
    [sent.code, sent.status, sent.retry, sent.exit, sent.message, sent.fields],
  );
  const answered = httpErrors.NOT_FOUND({ path: '/x' });
  assert.deepEqual(problem(errorOf(structuredClone(failureOf(answered)))), problem(answered));
});

test('every exit code has one row in the table that README.md and RUNBOOK.md show', () => {
  const listed = exitRows.map(({ code }) => code);
  assert.deepEqual(
    Object.values(exitCodes).filter((code) => !listed.includes(String(code))),
    [],
  );
  assert.equal(new Set(listed).size, listed.length);
});

test('a defect crosses as its stack, and so does anything else that was thrown', () => {
  const got = errorOf(structuredClone(failureOf(new TypeError('bug'))));
  assert.ok(!(got instanceof RingmainError));
  assert.match(got.message, /^TypeError: bug\n +at /);
  assert.equal(errorOf(structuredClone(failureOf('gone'))).message, 'gone');
  assert.equal(exitCodeOf(got), 70);
});

test('the fields of a code are checked by the compiler', () => {
  // @ts-expect-error: limit is missing.
  httpErrors.BODY_TOO_LARGE({ bytes: 1 });
  // @ts-expect-error: no such code in this room.
  assert.throws(() => httpErrors.SINK_WRITE({ sink: 'log', reason: 'x' }), TypeError);
  const code: 'BODY_TOO_LARGE' = httpErrors.BODY_TOO_LARGE({ bytes: 2, limit: 1 }).code;
  assert.equal(errors.INTERNAL().code.length + code.length, 'INTERNAL'.length + 'BODY_TOO_LARGE'.length);
});
