/**
 * Mutants: orders and checks that the engine's promises rest on, broken one at a time in a copy of src/. For each the tests named here must
 * go red; a mutant that lives says that nothing proves that line.
 *
 *   node test/faults/mutants.ts            all
 *   node test/faults/mutants.ts pin tail   those whose name holds one of the words
 *
 * A replacement must find its text exactly once: when the code has moved on, the mutant is told so instead of living for ever.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Each text and what it becomes. */
  readonly edits: readonly (readonly [string, string])[];
  readonly tests: readonly string[];
}

const RING = 'src/engine/ring.ts';
const STORE_TAIL = '    Atomics.store(ring.longs, TAIL, BigInt(this.#tail));\n';
const STORE_FLOOR = '      Atomics.store(ring.longs, FLOOR, BigInt(floor));\n';
const STORE_PIN = '    Atomics.store(longs, this.#line + PIN, BigInt(position));\n';

export const mutants: readonly Mutant[] = [
  {
    name: 'answer before write',
    file: 'src/engine/acknowledger.ts',
    edits: [
      [
        "if (!this.#scheduled) return this.#lane.publish() ? 'now' : 'failed';",
        "if (!this.#scheduled) {\n        this.#schedule();\n        return 'now';\n      }",
      ],
    ],
    tests: ['test/engine/acknowledger.test.ts'],
  },
  {
    name: 'sync answer without a sync',
    file: 'src/engine/acknowledger.ts',
    edits: [['waiting[done].position <= synced', 'waiting[done].position >= 0']],
    tests: ['test/engine/acknowledger.test.ts'],
  },
  {
    name: 'wake without re-read (acknowledger)',
    file: 'src/engine/acknowledger.ts',
    edits: [['if (ring.synced() >= this.#waiting[0].position) {', 'if (ring.synced() < 0) {']],
    tests: ['test/engine/acknowledger.test.ts'],
  },
  {
    name: 'wake without re-read (sink)',
    file: 'src/delivery/waiter.ts',
    edits: [['if (!work()) {', 'if (work !== undefined) {']],
    tests: ['test/sinks/waiter.test.ts'],
  },
  {
    name: 'tail before bytes',
    file: RING,
    edits: [
      [STORE_TAIL, ''],
      [
        '    const from = this.#tail & ring.mask;\n',
        '    Atomics.store(ring.longs, TAIL, BigInt(this.#tail + bytes));\n    const from = this.#tail & ring.mask;\n',
      ],
    ],
    tests: ['test/engine/ring.race.test.ts'],
  },
  {
    name: 'floor after overwrite',
    file: RING,
    edits: [
      [STORE_FLOOR, ''],
      [STORE_TAIL, `    Atomics.store(ring.longs, FLOOR, BigInt(this.#floor));\n${STORE_TAIL}`],
    ],
    tests: ['test/engine/ring.race.test.ts'],
  },
  {
    name: 'pin after check',
    file: RING,
    edits: [
      [STORE_PIN, ''],
      [
        '    let end = position;\n    let records = 0;\n',
        `${STORE_PIN}    let end = position;\n    let records = 0;\n`,
      ],
    ],
    tests: ['test/engine/ring.race.test.ts'],
  },
  {
    name: 'pins are not looked at',
    file: RING,
    edits: [['if (pin >= 0 && pin < low) low = pin;', 'if (pin < -1) low = pin;']],
    tests: ['test/engine/ring.test.ts'],
  },
  {
    name: 'unsynced bytes are overwritten',
    file: RING,
    edits: [['if (this.#journal) return ring.synced();', 'if (this.#journal) return this.#tail;']],
    tests: ['test/engine/ring.test.ts'],
  },
  {
    name: 'tail and its records from two publishes',
    file: RING,
    edits: [['if (after === Atomics.load(this.longs, TAIL_RECORD)) return', 'return']],
    tests: ['test/engine/ring.race.test.ts'],
  },
  {
    name: 'published before it is written',
    file: 'src/engine/lane.ts',
    edits: [
      [
        '    let keep = 0;\n',
        '    let keep = 0;\n    producer.publish(draft.buffer, draft.words, draft.start, draft.bytes, this.#records + draft.records);\n',
      ],
      ['    producer.publish(draft.buffer, draft.words, draft.start, draft.bytes, this.#records);\n', ''],
    ],
    tests: ['test/faults/damage.test.ts'],
  },
  {
    name: 'a rescue names its segment before it holds the bytes',
    file: 'src/engine/segment-writer.ts',
    edits: [
      ['      if (bytes > 0) this.#disk.write(this.#spare().fd, copy, 0, copy.length, PAGE);\n', ''],
      [
        '      this.#rotate(from, record, this.#generation + 1);\n',
        '      this.#rotate(from, record, this.#generation + 1);\n      if (bytes > 0) this.#disk.write(this.#fd, copy, 0, copy.length, PAGE);\n',
      ],
    ],
    tests: ['test/faults/damage.test.ts'],
  },
  {
    name: 'synced up to a tail that came after the sync',
    file: 'src/engine/keeper.ts',
    edits: [['lane.ring.setSynced(tail);', 'lane.ring.setSynced(lane.ring.tail());']],
    tests: ['test/engine/acknowledger.test.ts'],
  },
  {
    name: 'a failed fdatasync is repeated',
    file: 'src/engine/keeper.ts',
    edits: [
      ['      if (lane.rescuing) continue;\n', ''],
      ['lane.ring.tail() > lane.ring.synced() && !lane.rescuing', 'lane.ring.tail() > lane.ring.synced()'],
    ],
    tests: ['test/faults/damage.test.ts', 'test/engine/lane.model.test.ts'],
  },
  {
    name: 'an heir of the keeper forgets what is still to be synced',
    file: 'src/engine/keeper.ts',
    edits: [["lane.retired.push(this.#disk.open(path, 'r+'));", 'void path;']],
    tests: ['test/faults/damage.test.ts'],
  },
  {
    name: 'a folder is not synced',
    file: 'src/engine/keeper.ts',
    edits: [['          this.#disk.syncFolder(this.#store.folder(lane.id));\n', '']],
    tests: ['test/engine/lane.model.test.ts'],
  },
  {
    name: 'a segment is deleted that is not passed',
    file: 'src/engine/keeper.ts',
    edits: [
      ['return mark !== undefined && file.end <= mark[1];', 'return mark !== undefined && file.base <= mark[1];'],
    ],
    tests: ['test/faults/damage.test.ts', 'test/engine/lane.model.test.ts'],
  },
  {
    name: 'the keeper sleeps on after it was woken',
    file: 'src/engine/keeper-thread.ts',
    edits: [['      return true;\n', '      return false;\n']],
    tests: ['test/engine/keeper-thread.test.ts'],
  },
  {
    name: 'the keeper ends without a last sync',
    file: 'src/engine/keeper-thread.ts',
    edits: [['      keeper.finish();\n', '']],
    tests: ['test/engine/keeper-thread.test.ts'],
  },
  {
    name: 'a frame of another position opens',
    file: 'src/engine/frame.ts',
    edits: [
      [
        '  if (view.getFloat64(at + frameAt.position, true) !== position) return undefined;\n',
        '  if (position < 0) return undefined;\n',
      ],
    ],
    tests: ['test/engine/frame.test.ts'],
  },
  {
    name: 'damage ends the lane',
    file: 'src/engine/segment-reader.ts',
    edits: [['const found = this.scan(from.position + 8, stop);', 'const found = this.scan(stop, stop);']],
    tests: ['test/faults/damage.test.ts'],
  },
  {
    name: 'checkpoint before target',
    file: 'src/delivery/runner.ts',
    edits: [
      [
        '      const settled = await target?.settle?.();\n',
        '      checkpoint?.write(this.#route.state(undefined));\n      const settled = await target?.settle?.();\n',
      ],
    ],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'no checkpoint before the first delivery',
    file: 'src/delivery/runner.ts',
    edits: [['(await this.#open()) && (await this.#begin())', 'await this.#open()']],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'what stands behind an undelivered batch is passed',
    file: 'src/delivery/runner.ts',
    edits: [
      [
        'if (!head.delivered) stop.broken = true;\n      if (!stop.broken) this.#pass(head);',
        'if (head.delivered) this.#pass(head);',
      ],
      ["phase === 'stop' || this.#over", "phase === 'stop'"],
      ['          if (this.#over) return;\n', ''],
      ['if (this.#moved !== undefined || this.#over) return;', 'if (this.#moved !== undefined) return;'],
    ],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'a drain leaves what is no whole batch',
    file: 'src/delivery/runner.ts',
    edits: [["if (full || left <= 0 || phase === 'drain') {", 'if (full || left <= 0) {']],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'a drain ends with its first round',
    file: 'src/delivery/runner.ts',
    edits: [
      [
        "        if (phase === 'run' && !this.#work()) await this.#rest(wait);\n",
        "        if (phase === 'drain') return;\n        if (!this.#work()) await this.#rest(wait);\n",
      ],
    ],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'a sink looks a second time for nothing',
    file: 'src/delivery/runner.ts',
    edits: [["        if (phase === 'run' && !this.#work()) await this.#rest(wait);\n", '']],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'the file is not cut to its checkpoint',
    file: 'src/sinks/file/sink.ts',
    edits: [
      ['if (size > state.length) ftruncateSync(fd, state.length);', 'if (size < 0) ftruncateSync(fd, state.length);'],
    ],
    tests: ['test/sinks/file.test.ts'],
  },
  {
    name: 'a file takes lines before a checkpoint describes it',
    file: 'src/sinks/file/sink.ts',
    edits: [['if (this.#journal && !this.#known)\n', 'if (this.#length < 0)\n']],
    tests: ['test/sinks/file.test.ts'],
  },
  {
    name: 'a target that asks for a checkpoint gets none',
    file: 'src/delivery/delivery.ts',
    edits: [
      [
        '      const failure = await this.#parts.settle();\n',
        '      const failure = await this.#parts.target().settle?.().then(() => undefined);\n',
      ],
    ],
    tests: ['test/sinks/runner.test.ts'],
  },
  {
    name: 'a stranger is cut',
    file: 'src/sinks/file/sink.ts',
    edits: [['(found.size < state.length || tailSum(fd, state.length) === state.tail)', 'found.size >= 0']],
    tests: ['test/sinks/file.test.ts'],
  },
];

const ROOT = join(import.meta.dirname, '..', '..');
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const LIMIT_MS = 90_000;

/** Breaks a copy and runs its tests. killed: they went red, as they must. */
export async function tryMutant(mutant: Mutant): Promise<'killed' | 'lives' | 'does not apply'> {
  const folder = mkdtempSync(join(tmpdir(), 'ringmain-mutant-'));
  try {
    for (const part of ['src', 'test', 'package.json', 'vitest.config.ts'])
      cpSync(join(ROOT, part), join(folder, part), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    const path = join(folder, mutant.file);
    let text = readFileSync(path, 'utf8');
    for (const [from, to] of mutant.edits) {
      if (text.split(from).length !== 2) return 'does not apply';
      text = text.replace(from, () => to);
    }
    writeFileSync(path, text);
    const run = spawn(process.execPath, [VITEST, 'run', ...mutant.tests], {
      cwd: folder,
      stdio: 'ignore',
      detached: true,
    });
    // A mutant that hangs is as dead as one that fails.
    const timer = setTimeout(() => process.kill(-(run.pid as number), 'SIGKILL'), LIMIT_MS);
    const code = await new Promise<number | null>((resolve) => run.once('exit', resolve));
    clearTimeout(timer);
    return code === 0 ? 'lives' : 'killed';
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

if (process.argv[1] === import.meta.filename) {
  const words = process.argv.slice(2);
  for (const mutant of mutants) {
    if (words.length > 0 && !words.some((word) => mutant.name.includes(word))) continue;
    const begin = performance.now();
    const verdict = await tryMutant(mutant);
    console.log(`${verdict.padEnd(15)} ${mutant.name} (${((performance.now() - begin) / 1000).toFixed(0)} s)`);
    if (verdict !== 'killed') process.exitCode = 1;
  }
}
