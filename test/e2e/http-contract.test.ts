/** The contract against the real process: each case as in test/collect, with the NDJSON file for the truth. */
import assert from 'node:assert/strict';
import { afterAll, test } from 'vitest';
import { collectCases } from '../collect/cases-collect.ts';
import { pixelCases } from '../collect/cases-pixel.ts';
import { wireCases } from '../collect/cases-wire.ts';
import { Cases, Client, type Options } from '../collect/contract.ts';
import type { Collector } from '../servers/collector.ts';
import { fileScope } from '../servers/scope.ts';
import { startSmall } from './small-collector.ts';

const file = fileScope();
let current: { key: string; server: Collector } | undefined;

/** One process at a time: the cases are sorted by their options. */
async function serverFor(options: Options): Promise<Collector> {
  const key = JSON.stringify(options);
  if (current?.key === key) return current.server;
  await end();
  current = { key, server: await startSmall(file, 21230, options) };
  return current.server;
}

async function end(): Promise<void> {
  const last = current?.server;
  current = undefined;
  if (last === undefined) return;
  assert.ok(last.running, `the collector must live to the end:\n${last.log}`);
  assert.equal(await last.stop(), 0, last.log);
}
afterAll(end);

const cases = new Cases();
pixelCases(cases);
collectCases(cases);
wireCases(cases);
cases.all.sort((a, b) => JSON.stringify(a.options).localeCompare(JSON.stringify(b.options)));
for (const { name, options, run } of cases.all) {
  test(name, async () => {
    await run(new Client(await serverFor(options)));
  });
}
