/**
 * What dead letters promise: none is lost, taken for another one, or sent twice, and the ledger knows them. And what no
 * wall clock may decide.
 */
import type { Mutant } from './mutant.ts';

const replay = 'src/delivery/dead-letter-replay.ts';
const replayed = 'test/delivery/dead-letter-replay.test.ts';
const letters = 'src/delivery/dead-letter.ts';
const written = 'test/delivery/dead-letter.test.ts';
export const letterMutants: readonly Mutant[] = [
  {
    name: 'two collectors write letters at the same place',
    file: letters,
    edits: [["openSync(this.#path, 'a+', 0o600)", 'openSync(this.#path, 0o102, 0o600)']],
    tests: [written],
  },
  {
    name: 'letters go into a file without a name',
    file: letters,
    edits: [['if (this.#fd >= 0 && !this.#isNamed()) this.close();', '']],
    tests: [written],
  },
  {
    name: 'a letter is known by its position alone',
    file: 'src/delivery/dead-letter.ts',
    edits: [
      [
        'return keys.get(lane)?.get(position)?.has(hash) ?? false;',
        'return hash !== "" && (keys.get(lane)?.has(position) ?? false);',
      ],
    ],
    tests: [replayed],
  },
  {
    name: 'a request of a replay is sent before it is on disk',
    file: replay,
    edits: [['      progress.sends(settled, end, [...refused].slice(told));\n', '']],
    tests: [replayed],
  },
  {
    name: 'the request in doubt goes with others',
    file: replay,
    edits: [['inDoubt > 0 ? [group.length, settled + inDoubt] : [group.length]', 'inDoubt >= 0 ? [group.length] : []']],
    tests: [replayed],
  },
  {
    name: 'a target is not asked where its replay stands',
    file: replay,
    edits: [['Math.min(this.#cursor - next, settled', 'Math.min(0, settled']],
    tests: [replayed],
  },
  {
    name: 'the mark of a file that was replaced counts',
    file: 'src/delivery/dead-letter-progress.ts',
    edits: [['mark.first !== undefined && mark.first', 'mark.first === undefined && mark.first']],
    tests: [replayed],
  },
  {
    name: 'what the cursor of a target has passed counts as delivered',
    file: 'src/delivery/lane-source.ts',
    edits: [['if (to > from) dead += deadIn(key, from, to);', 'if (to > from) dead += 0;']],
    tests: ['test/delivery/runner.test.ts'],
  },
  {
    name: 'delivered segments are kept by the time of their file',
    file: 'src/engine/keeper.ts',
    edits: [['this.#ages.of(file, now) >= this.#shared.retainMs', 'now - file.ms >= this.#shared.retainMs']],
    tests: ['test/engine/keeper.test.ts'],
  },
  {
    name: 'a clock that was ahead keeps a salt until that day',
    file: 'src/visitor/salts.ts',
    edits: [['day === this.#day || this.#isJustBefore(this.#day, now)', 'day <= this.#day']],
    tests: ['test/visitor/privacy.test.ts'],
  },
  {
    name: 'the salt before stays in memory',
    file: 'src/visitor/salts.ts',
    edits: [['    this.#slot(turn).fill(0);\n', '']],
    tests: ['test/visitor/privacy.test.ts'],
  },
  {
    name: 'a replay of letters sends on after Ctrl-C',
    file: 'src/service/dead-letter-command.ts',
    edits: [['if (interrupt.wanted) {', 'if (interrupt.wanted && sent < 0) {']],
    tests: ['test/service/dead-letter-command.test.ts'],
  },
];
