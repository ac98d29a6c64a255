/** Goal: what this machine has too little of is said before the start, by the same rules as the start's own. */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { engineConfig } from '../../../src/engine/config.ts';
import { GiB, loadConfig, MiB } from '../../../src/kernel/config.ts';
import type { Finding } from '../../../src/kernel/finding.ts';
import { examineJournal, filesFinding, memoryFindings } from '../../../src/service/doctor/machine.ts';

const shown = (findings: Iterable<Finding>): string[] =>
  [...findings].map(({ severity, text }) => `${severity}: ${text}`);

function journal(t: TestContext, below: string, quota: string): string[] {
  const folder = mkdtempSync(join(below, 'ringmain-doctor-'));
  t.onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const env = { JOURNAL_DIR: folder, JOURNAL_MAX_BYTES: quota };
  const { values } = loadConfig([engineConfig], { env, argv: [] });
  return shown(examineJournal(values));
}

test('a journal that may outgrow its disk is a warning', (t) => {
  expect(journal(t, tmpdir(), '64MiB')).toContainEqual(
    expect.stringMatching(/^ok: \d+\w+ free for a journal of up to 64MiB/),
  );
  expect(journal(t, tmpdir(), '900000GiB')).toContainEqual(
    expect.stringMatching(/^warning: only \d+\w+ free, but the journal may grow to 900000GiB/),
  );
});

const TMPFS = 0x0102_1994;
const memory = '/dev/shm';
test.skipIf(statfsSync(memory).type !== TMPFS)('a journal on tmpfs is a warning', (t) => {
  expect(journal(t, memory, '4MiB')).toContainEqual(expect.stringMatching(/^warning: .* is on tmpfs/));
});

test('a cgroup limit below what may be needed is an error; what heads of requests may take is said', () => {
  expect(shown(memoryFindings(300 * MiB, 0, 200 * MiB))).toEqual([
    'error: memory: up to about 300MiB may be needed, but the cgroup limit is 200MiB',
  ]);
  expect(shown(memoryFindings(300 * MiB, 100 * MiB, 512 * MiB))).toEqual([
    'ok: memory: about 300MiB needed at most, limit 512MiB',
  ]);
  expect(shown(memoryFindings(300 * MiB, 3 * GiB, 512 * MiB))[1]).toMatch(/^note: an attacker .* may take 3GiB more/);
  expect(shown(memoryFindings(300 * MiB, 3 * GiB, Number.NaN))).toEqual([
    'note: memory: about 300MiB needed at most; no cgroup limit',
  ]);
});

// The files of our own: 64 of the process, 16 of each of 3 threads, 48 of an output, 48 seats of an acceptor beyond
// MAX_CONNECTIONS.
test('few open files are judged as the start judges them', () => {
  const needs = { wanted: 100_000, set: false, acceptors: 1, threads: 3, outputs: 1 };
  const own = 208;
  const said = (limit: number, set = false) => shown([filesFinding({ ...needs, set }, limit)])[0]!;
  expect(said(100_000 + own)).toMatch(/^ok: open-file limit: 100208/);
  expect(said(Number.POSITIVE_INFINITY)).toMatch(/^ok: /);
  const few = (limit: number) =>
    `the limit of open files (${limit}) leaves room for ${limit - own} connections, fewer than MAX_CONNECTIONS (100000)`;
  expect(said(100_000 + own - 1)).toBe(`note: ${few(100_207)}`);
  expect(said(20_000, true)).toBe(`warning: ${few(20_000)}`);
  expect(said(1024)).toBe(`warning: ${few(1024)}`);
  expect(said(own + 15)).toBe(
    `error: the limit of open files must be at least ${own + 16}: found=${own + 15} (ulimit -n)`,
  );
});
