/** Tools run in this process, and a receiver of HTTP that they send to. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, type TestContext, vi } from 'vitest';
import { RingmainError } from '../../../src/kernel/errors.ts';

export interface ToolRun {
  readonly code: number;
  /** What it says on standard output and standard error, or the message of what it throws. */
  readonly said: string;
}

export async function toolRun(run: () => Promise<number>): Promise<ToolRun> {
  let said = '';
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation((part) => {
      said += String(part);
      return true;
    }),
  );
  try {
    return { code: await run(), said };
  } catch (error) {
    if (!(error instanceof RingmainError)) throw error;
    return { code: error.exit, said: error.message };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** Answers each request with `status(...)`; `got` has the numbers (`n`) of the events that it took, in order. */
export async function receiver(t: TestContext, status: (numbers: readonly number[]) => number) {
  const got: number[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    req.on('end', () => {
      const lines = body.trim().split('\n');
      const numbers = lines.map((line) => (JSON.parse(line) as { n: number }).n);
      const answer = status(numbers);
      if (answer < 300) got.push(...numbers);
      res.writeHead(answer).end();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  expect(server.listening).toBe(true);
  return { got, at, url: `http://${at}/` };
}
