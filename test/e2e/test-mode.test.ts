/** Goal: TEST_MODE says at start of each sink whether five marked events have arrived there, or why not. */
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { Collector } from '../servers/collector.ts';

const PORT = 22_250;

test('five marked events go the whole way, and the log says for each sink whether they arrived', async (t) => {
  let refuses = false;
  const seen: string[] = [];
  const receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      if (!refuses) seen.push(...body.trim().split('\n'));
      response.writeHead(refuses ? 422 : 204).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(PORT + 1, '127.0.0.1', resolve));
  t.onTestFinished(() => void receiver.close());
  const collector = new Collector(t, {
    port: PORT,
    env: { TEST_MODE: 'true', OUTPUTS: 'log,http', HTTP_SINK_URL: `http://127.0.0.1:${PORT + 1}/` },
  });
  await collector.start();
  const arrived = (sink: string) => new RegExp(`"sink":"${sink}"[^\n]*test events arrived`);
  await expect.poll(() => collector.log).toMatch(arrived('log'));
  await expect.poll(() => collector.log).toMatch(arrived('http'));
  expect(collector.log).toMatch(/"events":5[^\n]*test events acknowledged/);
  for (const lines of [collector.lines(), seen]) {
    const events = lines.map((line) => JSON.parse(line) as { e: string; props: { sample: string | number } });
    expect(events.map(({ e }) => e)).toEqual(Array(5).fill('ringmain_test'));
    expect(events.map(({ props }) => Number(props.sample)).sort()).toEqual([1, 2, 3, 4, 5]);
  }

  await collector.kill('SIGTERM');
  refuses = true;
  await collector.start();
  await expect
    .poll(() => collector.log)
    .toMatch(/"sink":"http"[^\n]*"deadLetters":5[^\n]*the target rejected test events/);
});
