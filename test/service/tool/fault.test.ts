import { expect, test } from 'vitest';
import { exitCodeOf, RingmainError } from '../../../src/kernel/errors.ts';
import { faultOf } from '../../../src/service/tool/fault.ts';

const systemError = (fields: Partial<NodeJS.ErrnoException>): Error =>
  Object.assign(new Error(`${fields.code}: refused`), fields);

test('what the system refuses a tool about a file is one line with the exit code of its kind', () => {
  const path = '/var/lib/ringmain/journal/log';
  for (const [fields, exit, said] of [
    [
      { code: 'EACCES', syscall: 'open', path },
      78,
      'permission denied (EACCES): path=/var/lib/ringmain/journal/log; run',
    ],
    [{ code: 'EROFS', syscall: 'open', path }, 78, 'permission denied (EROFS)'],
    [{ code: 'ENOTDIR', syscall: 'scandir', path }, 78, 'path cannot be used: path=/var'],
    [{ code: 'ENOSPC', syscall: 'open', path }, 75, 'no space left on the disk: path=/var'],
    [{ code: 'ENOSPC', syscall: 'write' }, 75, 'no space left on the disk: path=unknown'],
    [{ code: 'EIO', syscall: 'read' }, 1, 'file cannot be read or written: path=unknown'],
    [{ code: 'EMFILE', syscall: 'open', path }, 1, 'file cannot be read or written: path=/var'],
  ] as const) {
    const fault = faultOf(systemError(fields)) as RingmainError;
    expect([fault.exit, fault.message], fields.code).toEqual([exit, expect.stringContaining(said)]);
  }
});

// What a sink makes of its socket's errors decides whether a replay is tried again.
test('errors of sockets, of the table and defects stay what they are', () => {
  for (const error of [
    systemError({ code: 'ECONNREFUSED', syscall: 'connect' }),
    systemError({ code: 'ECONNRESET', syscall: 'read' }),
    systemError({ code: 'EPIPE', syscall: 'write' }),
    new TypeError('a defect'),
    new RingmainError(
      { room: 'x', code: 'X', status: 500, retry: false, title: 'X', exit: 70, shown: false },
      'x',
      {},
      null,
    ),
  ]) {
    expect(faultOf(error)).toBe(error);
    expect(exitCodeOf(error)).toBe(70);
  }
});
