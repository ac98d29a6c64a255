// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code
/** Orders and checks that the promises of the engine, the runner and the file sink rest on. */
import type { Mutant } from './mutant.ts';

const RING = 'src/engine/ring.ts';
const STORE_TAIL = '    Atomics.store(ring.longs, TAIL, BigInt(this.#tail));\n';
const STORE_FLOOR = '      Atomics.store(ring.longs, FLOOR, BigInt(floor));\n';
const STORE_PIN = '    Atomics.store(longs, this.#line + PIN, BigInt(position));\n';

export const engineMutants: readonly Mutant[] = [
  {
    name: 'a checkpoint of another branch is believed',
    file: 'src/engine/lineage.ts',
    edits: [['if (known !== undefined) return known === (lifeId ?? NO_ID);', 'if (known !== undefined) return true;']],
    tests: ['test/engine/branch.test.ts'],
  },
  {
    name: 'a new life is counted from the log file alone',
    file: 'src/engine/journal.ts',
    edits: [
      [
        'return Math.max(identity?.life ?? 0, ...lanes, ...sinks);',
        'return identity?.life ?? (lanes.length - sinks.length) * 0;',
      ],
    ],
    tests: ['test/engine/branch.test.ts'],
  },
  {
    name: 'lanes of another log are taken for empty ones',
    file: 'src/engine/journal.ts',
    edits: [['if (log === undefined || log === identity?.log) continue;', 'if (log !== null) continue;']],
    tests: ['test/engine/branch.test.ts'],
  },
  {
    name: 'the segments of earlier lives keep their size',
    file: 'src/engine/keeper.ts',
    edits: [['for (const lane of shared.finished) this.#store.trim(lane.id, lane.end.position);', '']],
    tests: ['test/engine/keeper.test.ts'],
  },
  {
    name: 'segments are cut at the end of their frames, not of the page',
    file: 'src/engine/segment-store.ts',
    edits: [
      [
        'const bytes = PAGE + Math.ceil(Math.max(0, end - base) / PAGE) * PAGE;',
        'const bytes = PAGE + Math.floor(Math.max(0, end - base) / PAGE) * PAGE;',
      ],
    ],
    tests: ['test/engine/branch.test.ts'],
  },
  {
    name: 'the first segment is small whatever the ring',
    file: 'src/engine/keeper.ts',
    edits: [
      [
        'Math.min(Math.max(FIRST_SEGMENT, this.#leastBytes(ring)), shared.segmentBytes)',
        'Math.min(FIRST_SEGMENT, shared.segmentBytes)',
      ],
    ],
    tests: ['test/engine/keeper.test.ts'],
  },
  {
    name: 'the search begins anew behind each stale frame',
    file: 'src/engine/segment-reader.ts',
    edits: [
      [
        '      p += got - FRAME_HEADER - ((got - FRAME_HEADER) % 8) + 8;',
        '      p += Math.max(8, seekMagic(view, 0, got) + 8);',
      ],
    ],
    tests: ['test/faults/damage.test.ts'],
  },
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
    tests: ['test/delivery/waiter.test.ts'],
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
    name: 'the keeper ends without a last sync',
    file: 'src/engine/keeper-thread.ts',
    edits: [['  keeper.finish();\n', '']],
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
    edits: [['const found = this.scan(from.position + 8, limit);', 'const found = this.scan(limit, limit);']],
    tests: ['test/faults/damage.test.ts'],
  },
  {
    name: 'checkpoint before target',
    file: 'src/delivery/checkpoint-writer.ts',
    edits: [
      [
        '      const settled = await target?.settle?.(last);\n',
        '      checkpoint?.write(source.state(undefined));\n      const settled = await target?.settle?.(last);\n',
      ],
    ],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'no checkpoint before the first delivery',
    file: 'src/delivery/runner.ts',
    edits: [['(await this.#open()) && (await this.#begin())', 'await this.#open()']],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'what stands behind an undelivered batch is passed',
    file: 'src/delivery/runner.ts',
    edits: [
      [
        'if (!head.delivered) strand.broken = true;\n      if (!strand.broken) this.#pass(head);',
        'if (head.delivered) this.#pass(head);',
      ],
      ["phase === 'stop' || this.#over", "phase === 'stop'"],
      ['          if (this.#over) return;\n', ''],
      [
        'if (this.#moved !== undefined || this.#over || strand.recalled) return;',
        'if (this.#moved !== undefined || strand.recalled) return;',
      ],
    ],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'a drain leaves what is no whole batch',
    file: 'src/delivery/runner.ts',
    edits: [["if (full || left <= 0 || phase === 'drain') {", 'if (full || left <= 0) {']],
    tests: ['test/delivery/runner.test.ts'],
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
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'a sink looks a second time for nothing',
    file: 'src/delivery/runner.ts',
    edits: [["        if (phase === 'run' && !this.#work()) await this.#rest(wait);\n", '']],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'the file is not cut to its checkpoint',
    file: 'src/sinks/file/file-state.ts',
    edits: [['if (size <= length) return 0;', 'if (size >= 0) return 0;']],
    tests: ['test/sinks/file.test.ts'],
  },
  {
    name: 'a target that asks for a checkpoint gets none',
    file: 'src/delivery/batch-delivery.ts',
    edits: [
      [
        '      const failure = await this.#deps.settle();\n',
        '      const failure = await this.#deps.target().settle?.().then(() => undefined);\n',
      ],
    ],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'records of other kinds are delivered',
    file: 'src/engine/batch.ts',
    edits: [['if (!kinds.has(view.getUint16(offsets[i] + recordAt.kind, true))) continue;\n', '']],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'records of other kinds are not counted',
    file: 'src/delivery/runner.ts',
    edits: [['ledger.skipped += batch.skipped;', '']],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'a transaction that was aborted is read',
    file: 'src/store/kafka/partition.ts',
    edits: [['&& chunk.aborting.has(producer)) return undefined;', '&& chunk.at < 0) return undefined;']],
    tests: ['test/store/kafka/partition.test.ts'],
  },
  {
    name: 'memory of a batch is used again while the batch is read',
    file: 'src/store/kafka/partition.ts',
    edits: [
      [
        '          this.#open = open;\n',
        '          this.#open = open;\n          if (open.taken !== undefined) this.#spare?.give(open.taken);\n',
      ],
    ],
    tests: ['test/store/kafka/partition.test.ts'],
  },
  {
    name: 'a hole behind the last record is read again',
    file: 'src/store/kafka/partition.ts',
    edits: [
      [
        '    if (open.left > 0) return;\n    this.position = Math.max(this.position, open.end);\n',
        '    if (open.left > 0) return;\n',
      ],
    ],
    tests: ['test/store/kafka/partition.test.ts'],
  },
  {
    name: 'a stranger is cut',
    file: 'src/sinks/file/file-state.ts',
    edits: [['(found.size < state.length || tailSum(fd, state.length) === state.tail)', 'found.size >= 0']],
    tests: ['test/sinks/file.test.ts'],
  },
  {
    name: 'a replay of the journal continues behind the request that failed',
    file: 'src/service/journal/replay.ts',
    edits: [
      ['batch.positions[indices[at]!]', 'batch.positions[indices[Math.min(indices.length, at + sender.records) - 1]!]'],
    ],
    tests: ['test/service/journal/replay.test.ts'],
  },
  {
    name: 'a log that cannot be read counts as none',
    file: 'src/engine/journal.ts',
    edits: [["=== 'ENOENT') return undefined;", "!== '') return undefined;"]],
    tests: ['test/service/journal/replay.test.ts'],
  },
];
