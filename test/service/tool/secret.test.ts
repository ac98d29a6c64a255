/** Passwords that tools are given: from a terminal without an echo, or as the first line of standard input. */
import { PassThrough, Readable } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { readNewSecret, readSecret, type ToolInput } from '../../../src/service/tool/secret.ts';

/** A terminal on which these keys are pressed, each when the line before was taken. */
function terminal(...lines: readonly string[]): { input: ToolInput; modes: boolean[]; shown: () => string } {
  const input = new PassThrough() as PassThrough & ToolInput;
  const modes: boolean[] = [];
  const left = [...lines];
  let shown = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    shown += String(text);
    return true;
  });
  const setRawMode = (raw: boolean): void => {
    modes.push(raw);
    if (raw) setImmediate(() => input.write(left.shift() ?? ''));
  };
  return { input: Object.assign(input, { isTTY: true, setRawMode }), modes, shown: () => shown };
}

test('a terminal is asked twice, shows nothing of what is typed, and gets its mode back', async () => {
  const { input, modes, shown } = terminal('corrext\u007F\u007Fct horsé\r', 'correct horsé\n');
  expect(await readNewSecret(input, 'password')).toBe('correct horsé');
  expect(shown()).toBe('password: \npassword, again: \n');
  expect(modes).toEqual([true, false, true, false]);
});

test('two that differ are refused, and so is nothing; Ctrl-C ends it', async () => {
  await expect(readNewSecret(terminal('one\r', 'two\r').input, 'password')).rejects.toThrow(/both passwords/);
  await expect(readNewSecret(terminal('\r').input, 'password')).rejects.toThrow(/found=none/);
  const { input, modes } = terminal('abc\u0003');
  await expect(readNewSecret(input, 'password')).rejects.toThrow(/interrupted/);
  expect(modes).toEqual([true, false]);
});

test('standard input gives its first line, in whatever pieces it comes', async () => {
  for (const pieces of [['pass\n'], ['pa', 'ss', '\r', '\nmore'], ['pass'], ['pass\nmore\n']])
    expect(await readSecret(Readable.from(pieces), 'unused')).toBe('pass');
  const bytes = Buffer.from('pé\n');
  expect(await readSecret(Readable.from([bytes.subarray(0, 2), bytes.subarray(2)]), 'unused')).toBe('pé');
  await expect(readSecret(Readable.from(['\nsecond']), 'unused')).rejects.toThrow(/found=none/);
  await expect(readSecret(Readable.from(['x'.repeat(4097)]), 'unused')).rejects.toThrow(/at most 4096 bytes/);
});
