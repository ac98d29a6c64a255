/**
 * Goal: no 2xx leaves before the write (journal) or the fdatasync (sync) that covers its event has returned. Divolte and nginx answer first.
 * Method: the system calls of the real process, recorded by strace. A request is known by the number in it and by its socket; its write
 * is the pwrite64 that holds that number; its answer is what is sent on that socket next.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { ensureCommand } from '../servers/apt.ts';
import { Collector, temporary } from '../servers/collector.ts';
import { Client, Oracle, sendOne } from './load.ts';

const PORT = 21_850;

beforeAll(() => ensureCommand('strace', 'strace'));

interface Call {
  readonly name: string;
  readonly fd: number;
  readonly text: string;
  /** Lines of the trace where it began and returned. */
  readonly began: number;
  readonly returned: number;
}

/** Calls of all threads; `<unfinished ...>` and `resumed` lines are joined. */
function callsOf(trace: string): Call[] {
  const open = new Map<string, { line: number; text: string }>();
  const calls: Call[] = [];
  const add = (text: string, began: number, returned: number) => {
    const match = /^(\w+)\((\d+)/.exec(text);
    if (match !== null) calls.push({ name: match[1], fd: Number(match[2]), text, began, returned });
  };
  trace.split('\n').forEach((entry, line) => {
    const [, pid, rest] = /^(\d+) +(.*)$/s.exec(entry) ?? ['', '', ''];
    if (rest.endsWith('<unfinished ...>')) open.set(pid, { line, text: rest.slice(0, -'<unfinished ...>'.length) });
    else if (rest.startsWith('<... ')) {
      const begun = open.get(pid);
      open.delete(pid);
      if (begun !== undefined)
        add(begun.text + rest.slice(rest.indexOf('resumed>') + 'resumed>'.length), begun.line, line);
    } else add(rest, line, line);
  });
  return calls;
}

for (const [ack, name, env] of [
  ['journal', 'in the handler', { DEFER: 'off' }],
  ['journal', 'gathered', { DEFER_RATE: '0' }],
  ['sync', 'by group commit', {}],
] as const)
  test(`Divolte, nginx, vector#22489: the trace of ACK=${ack} (${name}): no 2xx before the ${ack === 'sync' ? 'fdatasync' : 'write'} that covers it has returned`, async (t) => {
    const folder = temporary(t);
    const file = join(folder, 'trace');
    const collector = new Collector(t, {
      port: PORT,
      folder,
      under: [
        'strace',
        '-D',
        '-f',
        '-o',
        file,
        '-s',
        '70000',
        '-e',
        'trace=pwrite64,fdatasync,recvfrom,sendto,sendmsg,read,write',
      ],
      env: {
        COOKIES: 'off',
        ACK: ack,
        ACCEPTORS: '2',
        RING_BYTES: '1MiB',
        SEGMENT_BYTES: '1MiB',
        MAX_BODY_BYTES: '32k',
        MAX_EVENT_BYTES: '16k',
        ...env,
      },
    });
    await collector.start();
    const oracle = new Oracle();
    t.onTestFinished(() => oracle.end());
    await expect.poll(() => sendOne(oracle, PORT), { message: 'it takes events' }).toBeGreaterThanOrEqual(0);
    const clients = Array.from({ length: 6 }, () => new Client(oracle, PORT));
    await sleep(700);
    await Promise.all(clients.map((client) => client.finish()));
    assert.equal(await collector.kill('SIGTERM'), 0, collector.log);
    const calls = callsOf(readFileSync(file, 'latin1'));
    /** The first write that holds an event; the sink writes it too, later. */
    const writes = new Map<number, Call>();
    for (const call of calls)
      if (call.name === 'pwrite64')
        for (const [, n] of call.text.matchAll(/\\"uid\\":\\"u(\d+)\\"/g))
          if (!writes.has(Number(n))) writes.set(Number(n), call);
    const syncs = calls.filter(({ name }) => name === 'fdatasync');
    /** By socket: the event whose answer is owed. */
    const asked = new Map<number, number>();
    let checked = 0;
    for (const call of calls.toSorted((a, b) => a.began - b.began)) {
      if (/^(recvfrom|read)$/.test(call.name)) {
        // The server also rehearses with requests of its own.
        const n = !call.text.includes('User-Agent: oracle') ? null : /(?:uid=u|\\"uid\\":\\"u)(\d+)/.exec(call.text);
        if (n !== null) asked.set(call.fd, Number(n[1]));
      } else if (/^(sendto|sendmsg|write)$/.test(call.name) && /"HTTP\/1\.1 2/.test(call.text)) {
        const n = asked.get(call.fd);
        if (n === undefined) continue;
        asked.delete(call.fd);
        const covering = writes.get(n);
        assert.ok(covering !== undefined, `event ${n} was answered and never written`);
        assert.ok(covering.returned < call.began, `event ${n} was answered before its write had returned`);
        if (ack === 'sync')
          assert.ok(
            syncs.some(
              (sync) => sync.fd === covering.fd && sync.began > covering.returned && sync.returned < call.began,
            ),
            `event ${n} was answered before an fdatasync that covers it had returned`,
          );
        checked += 1;
      }
    }
    console.log(`${checked} answers checked`);
    assert.ok(checked > 20, `only ${checked} of ${oracle.owed.size} answers were recognised`);
    assert.ok(checked >= oracle.owed.size * 0.95, `only ${checked} of ${oracle.owed.size} answers were recognised`);
  });
