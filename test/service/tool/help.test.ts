/** The help of the tools, made from their tables: every command has usage, exit codes and an example. */
import { expect, onTestFinished, test, vi } from 'vitest';
import pixel from '../../../src/pixel/pixel.ts';
import { runDeadLetter } from '../../../src/service/dead-letter-command.ts';
import { runDoctor } from '../../../src/service/doctor/doctor-command.ts';
import { runJournal } from '../../../src/service/journal/journal-command.ts';
import { answerWithoutService, runMigrateTool } from '../../../src/service/migrate.ts';

const tools = {
  journal: { run: runJournal, commands: ['ls', 'verify', 'cat', 'replay', 'forget', 'drain'] },
  deadletter: { run: runDeadLetter, commands: ['ls', 'replay'] },
  'migrate pixel': { run: runMigrateTool, commands: ['up', 'down', 'status'] },
} as const;

/** What `run` writes to a stream of this process, which it does not reach. */
async function written(stream: 'stdout' | 'stderr', run: () => unknown): Promise<string> {
  let text = '';
  const spy = vi.spyOn(process[stream], 'write').mockImplementation((part) => {
    text += String(part);
    return true;
  });
  onTestFinished(() => spy.mockRestore());
  await run();
  spy.mockRestore();
  return text;
}

for (const [tool, { run, commands }] of Object.entries(tools)) {
  test(`ringmain ${tool}: each command has a help of its own with usage, exit codes and an example`, async () => {
    for (const command of commands) {
      const text = await written('stdout', async () => expect(await run(pixel, [command, '--help'])).toBe(0));
      expect(text).toMatch(new RegExp(`^ringmain ${tool} ${command}\\b.* \\[--option=value \\.\\.\\.\\]\\n\\n[A-Z]`));
      expect(text).toMatch(/\n\nexit codes\n {4}0 .*\n {4}64 .*\n {4}78 /s);
      expect(text).toMatch(new RegExp(`\\n\\nexample\\n {4}ringmain ${tool} ${command}\\b`));
      expect(Math.max(...text.split('\n').map(({ length }) => length)), command).toBeLessThanOrEqual(120);
    }
  });

  test(`ringmain ${tool}: its list goes to standard output when asked for, else to standard error with 64`, async () => {
    const asked = await written('stdout', async () => expect(await run(pixel, ['--help'])).toBe(0));
    for (const command of commands) expect(asked).toContain(`\nringmain ${tool} ${command}`);
    expect(await written('stderr', async () => expect(await run(pixel, [])).toBe(64))).toBe(asked);
  });

  // An installation adds its file of options to every call: with or without an equals sign, it is no command.
  test(`ringmain ${tool}: options alone ask for the list; before a command or its help they change nothing`, async () => {
    const [first] = commands;
    const list = await written('stdout', () => run(pixel, ['--help']));
    const help = await written('stdout', () => run(pixel, [first, '--help']));
    for (const options of [['--env-file=x'], ['--env-file', 'x'], ['--config', 'y', '--env-file=x']]) {
      expect(await written('stderr', async () => expect(await run(pixel, options)).toBe(64))).toBe(list);
      for (const words of [
        ['--help', ...options],
        [...options, '--help'],
      ])
        expect(await written('stdout', async () => expect(await run(pixel, words)).toBe(0))).toBe(list);
      for (const words of [
        [first, '--help', ...options],
        [...options, first, '--help'],
        ['--help', ...options, first],
      ])
        expect(await written('stdout', async () => expect(await run(pixel, words)).toBe(0))).toBe(help);
      await expect(run(pixel, [...options, `${first}x`])).rejects.toThrow(`found=${first}x, did you mean ${first}?`);
    }
  });

  test(`ringmain ${tool}: a mistyped command or flag is refused with what was probably meant`, async () => {
    const [first] = commands;
    await expect(run(pixel, [`${first}x`])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(`found=${first}x, did you mean ${first}?`),
    });
    await expect(run(pixel, [first, '--journl-dir=x'])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('did you mean --journal-dir?'),
    });
  });
}

test('ringmain doctor --help has usage, every exit code and an example', async () => {
  const text = await written('stdout', async () => expect(await runDoctor(pixel, ['--help', '--env-file=x'])).toBe(0));
  expect(text).toMatch(/^ringmain doctor .* \[--option=value \.\.\.\]\n\n[A-Z]/);
  expect(text).toMatch(/\n\nexit codes\n {4}0 .*\n {4}1 .*\n {4}2 .*\n {4}64 .*\n {4}78 .*\n\n/);
  expect(text).toMatch(/\n\nexample\n {4}ringmain doctor\b/);
  expect(Math.max(...text.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(120);
});

test('the help of a drain names the code of a thread that died', async () => {
  const text = await written('stdout', () => runJournal(pixel, ['drain', '--help']));
  expect(text).toMatch(/\n {4}70 /);
});

test('flags of a command are known by name, may stand apart from their value, and belong to that command', async () => {
  const refused = (words: readonly string[], text: string) =>
    expect(runJournal(pixel, words), words.join(' ')).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(text),
    });
  await refused(['replay', '--sinc=kafka'], '--sinc is not a flag: did you mean --sink?');
  await refused(['replay', '--sink', 'kafak'], 'found=kafak, did you mean kafka?');
  await refused(['drain', '--timeout', '1s'], '--timeout must be a whole number: found=1s');
  await refused(['ls', '--timeout=1'], '--timeout is not a flag');
  await refused(['drain', 'now'], 'no other words belong here: found=now');
});

test('migrate without a service answers help, and says that the service comes first', async () => {
  const help = await written('stdout', () => expect(answerWithoutService(['up', '--help'], ['pixel'])).toBe(0));
  expect(help).toMatch(/^ringmain migrate <service> up /);
  expect(() => answerWithoutService(['up', 'pixel'], ['pixel'])).toThrow('ringmain migrate pixel up');
  expect(answerWithoutService(['pixel', 'up'], ['pixel'])).toBeUndefined();
  expect(answerWithoutService(['--env-file', 'x', 'pixel', 'up'], ['pixel'])).toBeUndefined();
  expect(() => answerWithoutService(['--env-file', 'x', 'up'], ['pixel'])).toThrow('ringmain migrate pixel up');
  const list = await written('stderr', () => expect(answerWithoutService(['--env-file=x'], ['pixel'])).toBe(64));
  expect(list).toContain('ringmain migrate <service> up');
});
