/** Orders and checks that the promises of the log file rest on: one writer, what others do to it, the order of rotated files. */
import type { Mutant } from './mutant.ts';

const SINK = 'src/sinks/file/sink.ts';
const STATE = 'src/sinks/file/file-state.ts';
const LOCK = 'src/sinks/file/log-lock.ts';
const others = ['test/sinks/file/others.test.ts'];
const locks = ['test/sinks/file/log-lock.test.ts'];

export const fileMutants: readonly Mutant[] = [
  {
    name: 'lines are cut that do not come again',
    file: 'src/sinks/file/file-state.ts',
    edits: [['if (repeats.left < 0) return undefined;', '']],
    tests: ['test/sinks/file/others.test.ts'],
  },
  {
    name: 'the log file is not locked',
    file: LOCK,
    edits: [['if (fstatSync(fd).isFile()) lock = lockLog(path);', '']],
    tests: locks,
  },
  {
    name: 'SQLite opened without the exclusive VFS',
    file: 'src/kernel/file-lock.ts',
    edits: [["url.searchParams.set('vfs', 'unix-excl');", '']],
    tests: locks,
  },
  {
    name: 'SQLite sees what lies beside the locked file',
    file: 'src/kernel/file-lock.ts',
    edits: [['if (part === undefined) return', 'return']],
    tests: locks,
  },
  {
    name: 'the garbage collector drops a lock',
    file: 'src/kernel/file-lock.ts',
    edits: [['  held.add(database);\n', '']],
    tests: locks,
  },
  {
    name: 'SIGHUP closes a descriptor of the locked file',
    file: SINK,
    edits: [
      [
        '    this.#compare();\n    if (this.#moved) this.#follow();\n  }',
        '    closeSync(openSync(this.#path, "r"));\n  }',
      ],
    ],
    tests: locks,
  },
  {
    name: 'two outputs on one file are not compared by inode',
    file: 'src/service/log-files.ts',
    edits: [['const { dev, ino } = statSync(path);', 'const [dev, ino] = [0, path];']],
    tests: locks,
  },
  {
    name: 'a new file with the inode of the checkpoint is taken for it',
    file: SINK,
    edits: [['if (size < length && !this.#cutMoved(state))', 'if (size < length)']],
    tests: others,
  },
  {
    name: 'a checkpoint covers bytes in a removed file',
    file: SINK,
    edits: [['so it lay in a file with a name.\n    this.#compare();', 'so it lay in a file with a name.']],
    tests: others,
  },
  {
    name: 'a write does not look where the name leads',
    file: SINK,
    edits: [['    this.#compare();\n    if (this.#moved && !this.#journal) this.#follow();', '']],
    tests: others,
  },
  {
    name: 'a removed file counts as moved',
    file: SINK,
    edits: [["return fstatSync(this.#fd).nlink > 0 ? 'moved' : 'removed';", "return 'moved';"]],
    tests: others,
  },
  {
    name: 'a new file is written to before a checkpoint knows it',
    file: SINK,
    edits: [['if (this.#journal && (!this.#known || this.#moved))', 'if (this.#journal && this.#moved)']],
    tests: others,
  },
  {
    name: 'writes go to a place instead of to the end',
    file: LOCK,
    edits: [
      [
        '  flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND,',
        '  flags = constants.O_RDWR | constants.O_CREAT,',
      ],
    ],
    tests: others,
  },
  {
    name: 'lines of others are cut with ours',
    file: STATE,
    edits: [['const ours = chunk[begin] === BRACE;', 'const ours = true;']],
    tests: others,
  },
  {
    name: 'the end in order is forgotten',
    file: SINK,
    edits: [['else if (size > length && state.closed) this.#tellAppended(size - length);', '']],
    tests: others,
  },
  {
    name: 'the file that a rotation put in place is not found under its third name',
    file: SINK,
    edits: [['const rotated = same(identityOf(stats), state.next);', 'const rotated = false;']],
    tests: others,
  },
  {
    name: 'rotated files in the order of the clock',
    file: 'src/sinks/file/rotated.ts',
    edits: [['a.number - b.number || (a.time', '(a.time']],
    tests: ['test/sinks/file/rotated.test.ts'],
  },
];
