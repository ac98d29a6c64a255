import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { leaveIdleConnections, runProgram } from '../servers/process.ts';

// Goal: the demo of the README shows what it promises, and ends clean on Ctrl-C.
test('npm run demo:full ends with sent = acknowledged = stored, stays up, and ends on Ctrl-C', {
  timeout: 180_000,
}, async (t) => {
  const demo = spawn(process.execPath, ['test/demo-full.ts'], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.onTestFinished(() => void demo.kill('SIGTERM'));
  const exited = new Promise<number | null>((resolve) => demo.once('exit', resolve));
  let said = '';
  demo.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect.poll(() => said, { timeout: 150_000 }).toContain('Ctrl-C ends it.');

  for (const killed of ['kill -9 of Ringmain', 'kill -9 of Postgres']) expect(said).toContain(killed);
  const numbers = /^sent ([\d,]+) = acknowledged ([\d,]+) = file ([\d,]+) = topic ([\d,]+) = table ([\d,]+)$/m.exec(
    said,
  );
  expect(new Set(numbers?.slice(1)).size).toBe(1);
  expect(Number(numbers?.[1]?.replaceAll(',', ''))).toBeGreaterThan(500);

  const url = /curl -i '([^']+)'/.exec(said)![1]!;
  expect((await fetch(url)).status).toBe(200);
  leaveIdleConnections();
  demo.kill('SIGINT');
  expect(await exited).toBe(0);
});

// Goal: the demo of analytics does what its heading says, with less traffic than a person gets to see.
test('npm run demo:analytics sends its traffic, shows the statistics of a day, goes on, and ends on Ctrl-C', {
  timeout: 180_000,
}, async (t) => {
  const env = { ...process.env, DEMO_PORT: '19895', DEMO_DAYS: '1' };
  const demo = spawn(process.execPath, ['test/demo-analytics.ts'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.onTestFinished(() => void demo.kill('SIGTERM'));
  const exited = new Promise<number | null>((resolve) => demo.once('exit', resolve));
  let said = '';
  demo.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect.poll(() => said, { timeout: 150_000 }).toContain('Ctrl-C ends it.');

  const [, site, date, views] = /^(shop\.example) {2}(\S+) {2}(\d+) views/m.exec(said)!;
  expect(Number(views)).toBeGreaterThan(100);
  const statistics = async () => {
    const answer = await fetch(`http://127.0.0.1:19895/stats?site_id=${site}&date=${date}`);
    return (await answer.json()) as { total_views: number; top_paths: readonly unknown[] };
  };
  expect(await statistics()).toMatchObject({ total_views: Number(views) });
  expect((await statistics()).top_paths).toHaveLength(10);
  // The trickle: views of today grow by themselves.
  const today = async () => {
    const answer = await fetch(
      `http://127.0.0.1:19895/stats?site_id=${site}&date=${new Date().toISOString().slice(0, 10)}`,
    );
    return ((await answer.json()) as { total_views: number }).total_views;
  };
  const before = await today();
  await expect.poll(today).toBeGreaterThan(before);
  leaveIdleConnections();
  demo.kill('SIGINT');
  expect(await exited).toBe(0);
});

// Goal: the three lines of the demo do what it says. Method: they are pasted into a shell.
test('npm run demo:gateway prints three lines that upload, resize and run into the limit, and ends on Ctrl-C', {
  timeout: 180_000,
}, async (t) => {
  const env = { ...process.env, DEMO_PORT: '19896' };
  const demo = spawn(process.execPath, ['test/demo-gateway.ts'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.onTestFinished(() => void demo.kill('SIGTERM'));
  const exited = new Promise<number | null>((resolve) => demo.once('exit', resolve));
  let said = '';
  demo.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect.poll(() => said, { timeout: 150_000 }).toContain('Ctrl-C ends it.');

  const lines = [...said.matchAll(/^ {2}(.+)$/gm)].map(([, line]) => line!);
  expect(lines).toHaveLength(3);
  const [uploaded, resized, limited] = await (async () => {
    const answers: string[] = [];
    for (const line of lines) answers.push(await runProgram('sh', ['-c', line]));
    return answers;
  })();
  expect(JSON.parse(uploaded!)).toMatchObject({ format: 'jpeg', width: 1200, height: 800 });
  expect(resized).toMatch(/^200 [1-9]\d+ bytes$/m);
  expect(limited).toMatch(/^(200 )+(429 )+/);
  leaveIdleConnections();
  demo.kill('SIGINT');
  expect(await exited).toBe(0);
});

// Goal: the demo of the SMS gateway shows what its heading says, and its lines do what they say. Kafka and chdb are others' tests.
test('npm run demo:sms shows balances, times and an audit, prints lines that work, and ends on Ctrl-C', {
  timeout: 180_000,
}, async (t) => {
  const env = { ...process.env, DEMO_PORT: '19897', DEMO_FLOOD: '800', DEMO_KAFKA: 'off', DEMO_CHDB: 'off' };
  const demo = spawn(process.execPath, ['test/demo-sms.ts'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.onTestFinished(() => void demo.kill('SIGTERM'));
  const exited = new Promise<number | null>((resolve) => demo.once('exit', resolve));
  let said = '';
  demo.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect.poll(() => said, { timeout: 150_000 }).toContain('Ctrl-C ends it.');

  // 800 messages with money for 600: the whole balance is spent, and not one message more.
  expect(said).toMatch(/^news +600 +200 +0 +0 /m);
  expect(said).toMatch(/^bank +100 +0 +9900 +0 /m);
  expect(said).toMatch(/^audit: [1-9]\d+ transfers, 0 differences$/m);
  const lines = [...said.matchAll(/^ {2}(.+)$/gm)].map(([, line]) => line!);
  expect(lines).toHaveLength(3);
  const answers: { readonly [field: string]: unknown }[] = [];
  for (const line of lines) answers.push(JSON.parse(await runProgram('sh', ['-c', line])));
  expect(answers[0]).toMatchObject({ status: 'accepted', cost: 1, balance: 9899 });
  expect(JSON.stringify(answers[1])).toContain(String(answers[0]!['message_id']));
  expect(answers[2]).toMatchObject({ customer_id: 'shop', balance: 9899 });
  leaveIdleConnections();
  demo.kill('SIGINT');
  expect(await exited).toBe(0);
});

// Goal: nobody's server gets the invented traffic. Method: another server has the port, and is ready.
test('npm run demo:analytics says that its port is taken, and sends nothing to whoever has it', async (t) => {
  let asked = 0;
  const other = createServer((_, answer) => {
    asked += 1;
    answer.end('{}');
  });
  await new Promise<void>((listening) => other.listen(19_895, '127.0.0.1', listening));
  t.onTestFinished(() => void other.close());
  const demo = runProgram(process.execPath, ['test/demo-analytics.ts'], {
    env: { ...process.env, DEMO_PORT: '19895' },
  });
  await expect(demo).rejects.toThrow(/status=75.*port is in use: address=127\.0\.0\.1:19895.*DEMO_PORT/s);
  expect(asked).toBe(0);
});
