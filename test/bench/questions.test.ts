import assert from 'node:assert/strict';
import test from 'node:test';
import { placeOf, sharesOf } from '../../native-bench/questions/profile.ts';
import { gcPauses } from '../../native-bench/questions/soak.ts';
import { metric } from '../../native-bench/rig/scrape.ts';

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

test('samples of perf are put down to the right part of the program', () => {
  const report =
    '    61.20%  [kernel.kallsyms]\n    15.00%  node\n     9.00%  [JIT] tid 42\n     7.30%  libc.so.6\n     6.50%  uws_linux_x64_127.node\n     1.00%  [vdso]\n';
  const shares = sharesOf(report);
  assert.ok(Math.abs(shares.get('kernel')! - 0.622) < 1e-9);
  assert.ok(Math.abs(shares.get('JavaScript')! - 0.09) < 1e-9);
  assert.equal(placeOf('uws_linux_x64_127.node'), 'uWebSockets.js (C++)');
  assert.equal(placeOf('perf-4242.map'), 'JavaScript');
  assert.equal(placeOf('libstdc++.so.6'), 'libc and others');
});
