/**
 * Goal: an answer that breaks off is never taken for a whole one, whatever version the server is of.
 * Method: a server that answers as ClickHouse does: 25.8 (an exception is a row of JSONEachRow unless the setting says
 * otherwise, and cuts the connection then) and 25.11 (a block behind a tag).
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, type TestContext, test } from 'vitest';
import { ClickHouse } from '../../../src/store/clickhouse/client.ts';
import { ClickHouseAway, ClickHouseError } from '../../../src/store/clickhouse/errors.ts';

const REASON = 'Code: 241. DB::Exception: Memory limit exceeded';
const ROW = '{"n":1}\n';
const TAG = 'abcdefghijklmnop';

type Answer = (res: ServerResponse, search: URLSearchParams) => void;

async function clientOf(t: TestContext, answer: Answer): Promise<ClickHouse> {
  const server = createServer((req: IncomingMessage, res) => {
    req.resume().once('end', () => answer(res, new URL(req.url ?? '/', 'http://server').searchParams));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = new ClickHouse({ url: `http://ringmain:secret@127.0.0.1:${port}/sms`, ca: undefined });
  t.onTestFinished(async () => {
    await client.close();
    server.close();
  });
  return client;
}

async function read(client: ClickHouse): Promise<string> {
  let text = '';
  for await (const piece of client.stream('SELECT n FORMAT JSONEachRow')) text += piece.toString();
  return text;
}

test('what breaks a stream of a server of 25.8 ends it with an error', async (t) => {
  const client = await clientOf(t, (res, search) => {
    res.write(ROW, () => {
      if (search.get('http_write_exception_in_output_format') === '0') res.destroy();
      else res.end(`${JSON.stringify({ exception: REASON })}\n`);
    });
  });
  await expect(read(client)).rejects.toBeInstanceOf(ClickHouseAway);
});

test('what breaks a stream of a newer server ends it with what the server says', async (t) => {
  const client = await clientOf(t, (res) => {
    res.setHeader('x-clickhouse-exception-tag', TAG);
    res.write(ROW);
    res.end(`\r\n__exception__\r\n${TAG}\r\n${REASON}\r\n${REASON.length} ${TAG}\r\n__exception__\r\n`);
  });
  await expect(read(client)).rejects.toMatchObject({ code: 241, message: expect.stringContaining(REASON) });
});

test('an error before the first row has the code of the server, and the login is in no text', async (t) => {
  const client = await clientOf(t, (res) => {
    res.writeHead(500, { 'x-clickhouse-exception-code': '241' }).end(`${REASON}\n`);
  });
  const error = await client.rows('SELECT n').then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ClickHouseError);
  expect(String(error)).toContain(REASON);
  expect(String(error)).not.toContain('secret');
});

test('a whole answer is read whole', async (t) => {
  const client = await clientOf(t, (res) => void res.end(ROW));
  expect(await read(client)).toBe(ROW);
  expect(await client.rows('SELECT n')).toEqual([{ n: 1 }]);
});
