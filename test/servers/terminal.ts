/** The built program on a terminal: its three streams are one pseudo-terminal, made by `script` of util-linux. */
import { execFile } from 'node:child_process';
import { main } from './collector.ts';

export interface OnTerminal {
  readonly code: number;
  /** Everything that the terminal was sent, control characters included. */
  readonly text: string;
}

export function onTerminal(
  words: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<OnTerminal> {
  const command = [process.execPath, main, ...words].map((word) => `'${word}'`).join(' ');
  const options = { cwd, timeout: 30_000, env: { PATH: process.env['PATH'], ...env } };
  return new Promise((resolve) => {
    const child = execFile('script', ['-qec', command, '/dev/null'], options, (error, text) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), text });
    });
    child.stdin?.end();
  });
}

/** What is left on the screen: lines that were written over themselves show what was written last. */
export const screenOf = (text: string): string =>
  text
    .split('\r\n')
    .map((line) => line.split('\r\u001B[K').at(-1))
    .join('\n');
