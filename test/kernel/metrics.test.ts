import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { test } from 'vitest';
import {
  attachBoard,
  counter,
  createBoard,
  defineMetrics,
  gauge,
  histogram,
  metricsText,
  processMetrics,
} from '../../src/kernel/metrics.ts';

const web = defineMetrics({
  requests_total: counter({ help: 'Requests.', labels: { route: ['px', 'collect'], status: ['2xx', '4xx', '5xx'] } }),
  latency_seconds: histogram({ help: 'Latency.', buckets: [0.001, 0.01, 0.1], labels: { route: ['px', 'collect'] } }),
  open_connections: gauge({ help: 'Connections.' }),
});
const threads = defineMetrics({
  loop_delay_seconds: gauge({ help: 'Delay.', threads: 'each' }),
  oldest_seconds: gauge({ help: 'Age.', threads: 'max' }),
});

test('the text sums what several threads counted and keeps labels apart', async () => {
  const board = createBoard([web, threads], 3);
  for (const slot of [0, 2]) {
    const meters = attachBoard(web, board, slot);
    meters.requests_total.at({ route: 'px', status: '2xx' }).add(5);
    meters.requests_total.at({ route: 'collect', status: '5xx' }).add(1);
    meters.open_connections.at().set(10 + slot);
    const latency = meters.latency_seconds.at({ route: 'px' });
    latency.observe(0.0005);
    latency.observe(0.001);
    latency.observe(0.05, 3);
    latency.observe(7);
    assert.equal(latency.count, 6);
  }
  const text = await metricsText([web, threads], board);
  assert.match(text, /^# HELP requests_total Requests\.\n# TYPE requests_total counter$/m);
  const lines = [
    'requests_total{route="px",status="2xx"} 10',
    'requests_total{route="px",status="4xx"} 0',
    'requests_total{route="collect",status="5xx"} 2',
    'open_connections 22',
    'latency_seconds_bucket{route="px",le="0.001"} 4',
    'latency_seconds_bucket{route="px",le="0.01"} 4',
    'latency_seconds_bucket{route="px",le="0.1"} 10',
    'latency_seconds_bucket{route="px",le="+Inf"} 12',
    'latency_seconds_count{route="px"} 12',
    'latency_seconds_bucket{route="collect",le="+Inf"} 0',
  ];
  for (const line of lines) assert.ok(text.split('\n').includes(line), `${line}\n---\n${text}`);
  const sum = Number(/^latency_seconds_sum\{route="px"\} (\S+)$/m.exec(text)?.[1]);
  assert.ok(Math.abs(sum - 2 * (0.0005 + 0.001 + 0.15 + 7)) < 1e-9);
});

test('threads: each gives a line per attached thread, max the largest', async () => {
  const board = createBoard([web, threads], 3);
  attachBoard(threads, board, 0).loop_delay_seconds.at().set(0.5);
  const second = attachBoard(threads, board, 1);
  second.loop_delay_seconds.at().set(0.25);
  second.oldest_seconds.at().set(9);
  const text = await metricsText([threads], board, [], { slotNames: ['main', 'acceptor-1', 'keeper'] });
  assert.match(text, /^loop_delay_seconds\{thread="main"\} 0.5$/m);
  assert.match(text, /^loop_delay_seconds\{thread="acceptor-1"\} 0.25$/m);
  assert.doesNotMatch(text, /keeper/);
  assert.match(text, /^oldest_seconds 9$/m);
});

test('a successor in a slot goes on counting, and its gauges begin at 0', async () => {
  const board = createBoard([web], 1);
  const first = attachBoard(web, board, 0);
  first.requests_total.at({ route: 'px', status: '2xx' }).add(3);
  first.open_connections.at().set(8);
  const second = attachBoard(web, board, 0);
  second.requests_total.at({ route: 'px', status: '2xx' }).add(4);
  const text = await metricsText([web], board);
  assert.match(text, /^requests_total\{route="px",status="2xx"\} 7$/m);
  assert.match(text, /^open_connections 0$/m);
});

test('no two cells share memory, and slots lie at least 128 bytes apart', () => {
  const board = createBoard([web, threads], 4);
  const cells = [];
  for (let slot = 0; slot < 4; slot += 1) {
    const meters = attachBoard(web, board, slot);
    for (const route of ['px', 'collect'] as const) {
      for (const status of ['2xx', '4xx', '5xx'] as const) cells.push(meters.requests_total.at({ route, status }));
    }
    cells.push(meters.open_connections.at(), attachBoard(threads, board, slot).loop_delay_seconds.at());
  }
  for (const [i, cell] of cells.entries()) cell.add(i + 1);
  for (const [i, cell] of cells.entries()) assert.equal(cell.value, i + 1);
  const before = new Uint8Array(board).slice();
  const changedBy = (slot: number): number[] => {
    attachBoard(web, board, slot).requests_total.at({ route: 'px', status: '2xx' }).add(1000);
    const now = new Uint8Array(board);
    // The head (attached counts) is written once at start, not on the hot path.
    const changed = [...now.keys()].filter((i) => i >= 128 && now[i] !== before[i]);
    before.set(now);
    return changed;
  };
  const lines = [0, 1, 2, 3].map((slot) => new Set(changedBy(slot).map((at) => Math.floor(at / 128))));
  for (const [i, a] of lines.entries()) {
    for (const b of lines.slice(i + 1))
      assert.ok(![...a].some((line) => b.has(line)), 'two slots write to one 128-byte line');
  }
});

test('a label outside of its list, a strange label and a strange set are refused', () => {
  const board = createBoard([web], 1);
  const meters = attachBoard(web, board, 0);
  const evil = 'evil' as 'px';
  assert.throws(
    () => meters.requests_total.at({ route: evil, status: '2xx' }),
    /route must be one of px, collect: route=evil/,
  );
  // @ts-expect-error: a label is missing.
  assert.throws(() => meters.requests_total.at({ route: 'px' }), RangeError);
  // @ts-expect-error: a label that is not declared.
  assert.throws(() => meters.requests_total.at({ route: 'px', status: '2xx', x: '1' }), /no label x/);
  assert.throws(() => attachBoard(threads, board, 0), /the set must be on the board/);
  assert.throws(() => attachBoard(web, board, 1), /slot must be below 1/);
  assert.throws(() => createBoard([web, web], 1), /requests_total is declared twice/);
  assert.throws(() => attachBoard(web, new SharedArrayBuffer(128), 0), /must be a board/);
});

test('a declaration that Prometheus would refuse is refused here', () => {
  assert.throws(() => histogram({ help: 'x', buckets: [2, 1] }), TypeError);
  assert.throws(() => histogram({ help: 'x', buckets: [] }), TypeError);
  assert.throws(() => defineMetrics({ 'a-b': counter({ help: 'x' }) }), TypeError);
  assert.throws(() => defineMetrics({ a: counter({ help: 'x', labels: { le: ['1'] } }) }), TypeError);
  assert.throws(() => defineMetrics({ a: counter({ help: 'x', labels: { b: [] } }) }), TypeError);
});

// Goal: real threads count into one board without losing one, while a scrape reads all the time.
// Method: two workers add a known number each; the sum seen never falls and ends exact.
test('two threads count at full speed while they are scraped, and nothing is lost', async () => {
  const board = createBoard([web], 2);
  const source = `
    import { workerData } from 'node:worker_threads';
    const { attachBoard, counter, defineMetrics, gauge, histogram } = await import(workerData.module);
    const web = defineMetrics({
      requests_total: counter({ help: 'Requests.', labels: { route: ['px', 'collect'], status: ['2xx', '4xx', '5xx'] } }),
      latency_seconds: histogram({ help: 'Latency.', buckets: [0.001, 0.01, 0.1], labels: { route: ['px', 'collect'] } }),
      open_connections: gauge({ help: 'Connections.' }),
    });
    const meters = attachBoard(web, workerData.board, workerData.slot);
    const cell = meters.requests_total.at({ route: 'px', status: '2xx' });
    const latency = meters.latency_seconds.at({ route: 'px' });
    for (let i = 0; i < 2_000_000; i += 1) { cell.add(1); latency.observe(0.005); }
  `;
  const module = new URL('../../src/kernel/metrics.ts', import.meta.url).href;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const workers = [0, 1].map((slot) => new Worker(url, { workerData: { module, board, slot } }));
  const ended = Promise.all(
    workers.map((worker) => new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))),
  );
  let done = false;
  ended.then(() => {
    done = true;
  });
  let last = 0;
  while (!done) {
    const text = await metricsText([web], board);
    const total = Number(/^requests_total\{route="px",status="2xx"\} (\S+)$/m.exec(text)?.[1]);
    assert.ok(total >= last, `a counter fell from ${last} to ${total}`);
    last = total;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await ended;
  const text = await metricsText([web], board);
  assert.match(text, /^requests_total\{route="px",status="2xx"\} 4000000$/m);
  assert.match(text, /^latency_seconds_count\{route="px"\} 4000000$/m);
});

test('collectors stand beside the sets, and the process tells its CPU, memory and build', async () => {
  const board = createBoard([web], 1);
  const ring = () => [
    { name: 'queue_depth', help: 'Depth.', type: 'gauge' as const, values: [{ labels: { sink: 'log' }, value: 4 }] },
  ];
  const text = await metricsText([web], board, [ring, processMetrics({ version: '1.2.3', commit: 'abc' })]);
  assert.match(text, /^queue_depth\{sink="log"\} 4$/m);
  assert.match(text, /^process_cpu_seconds_total [0-9.]+$/m);
  assert.match(text, /^process_resident_memory_bytes \d{7,}$/m);
  assert.match(text, /^ringmain_build_info\{version="1.2.3",commit="abc",node="v22[^"]*"\} 1$/m);
});
