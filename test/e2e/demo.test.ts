import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { leaveIdleConnections } from '../servers/process.ts';

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
