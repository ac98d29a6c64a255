import assert from 'node:assert/strict';
import { test } from 'vitest';
import { gcPauses } from '../../native-bench/rig/gc.ts';
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
