import assert from 'node:assert/strict';
import { test } from 'vitest';
import { LOOP, selfTimes } from '../../native-bench/rig/cpu-profile.ts';
import { gcPauses } from '../../native-bench/rig/gc.ts';
import { countSamples, partOf } from '../../native-bench/rig/perf.ts';
import { metric } from '../../native-bench/rig/scrape.ts';
import { parseCounts } from '../../native-bench/rig/syscalls.ts';

test('pauses are read out of what Node really traces', () => {
  const text = [
    '[4242:0x7f1200000000]     1234 ms: Scavenge 12.3 (16.0) -> 11.9 (16.2) MB, pooled: 1 MB, 0.45 / 0.00 ms  (average mu = 1.000, current mu = 1.000) allocation failure; ',
    '[4242:0x7f1300000000:2]   2500 ms: Mark-Compact 32.1 (40.0) -> 20.0 (41.0) MB, 3.21 / 0.01 ms  (average mu = 0.9) finalize incremental marking',
    '{"level":30,"msg":"ready"}',
  ].join('\n');
  assert.deepEqual(gcPauses(text), [
    { seconds: 1.234, ms: 0.45 },
    { seconds: 2.5, ms: 3.21 },
  ]);
});

test('a metric is summed over the series that carry the labels', () => {
  const text =
    '# TYPE a counter\na{sink="log",class="x"} 3\na{sink="log",class="y"} 4\na{sink="kafka"} 5\nab 100\nb 2e3\n';
  assert.equal(metric(text, 'a'), 12);
  assert.equal(metric(text, 'a', { sink: 'log' }), 7);
  assert.equal(metric(text, 'b'), 2000);
  assert.equal(metric(text, 'gone'), 0);
});

test('samples of perf are put down to their thread, and there to a system call or a part of the program', () => {
  const script = [
    '   42 ',
    '\tffffffff81000001 tcp_ack ([kernel.kallsyms])',
    '\tffffffff81000002 __x64_sys_sendto ([kernel.kallsyms])',
    '\t      7f0000000001 __send (/usr/lib/x86_64-linux-gnu/libc.so.6)',
    '',
    '   42 ',
    '\t      7f0000000002 [unknown] ([JIT] tid 42)',
    '',
    '   43 ',
    '\tffffffff81000003 ext4_writepages ([kernel.kallsyms])',
    '\tffffffff81000004 __x64_sys_fdatasync ([kernel.kallsyms])',
    '',
    '   43 ',
    '\tffffffff81000005 handle_mm_fault ([kernel.kallsyms])',
    '',
    '',
  ].join('\n');
  assert.deepEqual(
    countSamples(script),
    new Map([
      [
        42,
        new Map([
          ['send', 1],
          ['JavaScript', 1],
        ]),
      ],
      [
        43,
        new Map([
          ['fdatasync', 1],
          ['kernel, other', 1],
        ]),
      ],
    ]),
  );
  assert.equal(partOf([{ name: 'do_writev', object: '[kernel.kallsyms]' }]), 'send');
  const inUserSpace = (object: string) => partOf([{ name: 'f', object }]);
  assert.equal(inUserSpace('/app/node_modules/uWebSockets.js/uws_linux_x64_127.node'), 'uWebSockets.js (C++)');
  assert.equal(inUserSpace('/tmp/perf-4242.map'), 'JavaScript');
  assert.equal(inUserSpace('/usr/local/bin/node'), 'V8 and Node (C++)');
  assert.equal(inUserSpace('libstdc++.so.6'), 'nginx, libc and others');
});

test('self times of a profile: only what falls into the window, by function and file', () => {
  const node = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, lineNumber: 1 },
  });
  const profile = {
    nodes: [
      node(1, '(idle)', ''),
      node(2, 'encode', 'file:///app/dist/events/pixel-encoder.js'),
      node(3, 'encode', 'file:///app/dist/events/pixel-encoder.js'), // called from elsewhere
      node(4, 'writeBuffer', ''),
      node(5, '', 'node:internal/timers'),
    ],
    startTime: 1000,
    samples: [2, 2, 1, 3, 4, 5, 2],
    timeDeltas: [0, 100, 100, 100, 100, 100, 1000],
  };
  const times = selfTimes(profile, 1050, 1600);
  assert.deepEqual(
    times.map(({ name, file, share }) => [name, file, share]),
    [
      ['encode', 'events/pixel-encoder.js', 0.4],
      [LOOP, '', 0.2],
      ['writeBuffer', 'native', 0.2],
      ['(anonymous)', 'node:internal/timers', 0.2],
    ],
  );
});

test('system calls are read out of what perf really counts', () => {
  const text = [
    '# started on Sat Nov 21 17:27:18 2026',
    '',
    '12345,,raw_syscalls:sys_enter,2000,100.00,,',
    '12000,,syscalls:sys_enter_sendto,2000,100.00,,',
    '<not counted>,,syscalls:sys_enter_futex,0,100.00,,',
  ].join('\n');
  assert.deepEqual(
    parseCounts(text),
    new Map([
      ['all', 12345],
      ['sendto', 12000],
      ['futex', 0],
    ]),
  );
});
