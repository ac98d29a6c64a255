/** What operators are told: readiness, reasons, and one line when something goes away and when it is back. */
import type { Mutant } from './mutant.ts';

const announce = 'test/service/announce.test.ts';
const announcer = 'test/kernel/announcer.test.ts';
const idle = 'test/delivery/idle-probe.test.ts';
const log = 'test/kernel/log.test.ts';
const rotated = 'test/sinks/file/rotated.test.ts';
const http = 'test/sinks/http/http.test.ts';
const outcome = 'test/collect/outcome.test.ts';
export const voiceMutants: readonly Mutant[] = [
  {
    name: 'a target whose connection has ended is not asked',
    file: 'src/delivery/idle-probe.ts',
    edits: [['if (!this.#lost) return;', 'return;']],
    tests: [idle],
  },
  {
    name: 'an answer of before a failed write counts',
    file: 'src/delivery/idle-probe.ts',
    edits: [['if (standing.news !== news) return;', '']],
    tests: [idle],
  },
  {
    name: 'connects that fail are not counted',
    file: 'src/delivery/idle-probe.ts',
    edits: [["meters.failure('connect');", '']],
    tests: [idle],
  },
  {
    name: 'a delivered batch brings a source back that is away',
    file: 'src/delivery/standing.ts',
    edits: [['if (this.#away.delete(part) &&', 'this.#away.clear();\n    if (']],
    tests: [idle],
  },
  {
    name: 'a reason does not name the place',
    file: 'src/kernel/place.ts',
    edits: [['if (first === undefined ||', 'if (first !== undefined ||']],
    tests: [idle, http],
  },
  {
    name: 'a line that was held back is never written',
    file: 'src/kernel/log.ts',
    edits: [['if (state.last !== state.up) this.write(state);', '']],
    tests: [log],
  },
  {
    name: 'the line that something is back tells how late the line is',
    file: 'src/kernel/log.ts',
    edits: [['downMs: Math.round(state.awayMs)', 'downMs: Math.round(nowMs - state.wentMs)']],
    tests: [log],
  },
  {
    name: 'a reason shows what a receiver repeats of the URL',
    file: 'src/sinks/http/sink.ts',
    edits: [["shown.replaceAll(secret, '***')", 'shown || secret']],
    tests: [http],
  },
  {
    name: 'the files that rotation deletes are not named',
    file: 'src/sinks/file/tidy.ts',
    edits: [['if (gone.length > 0)', 'if (gone.length < 0)']],
    tests: [rotated],
  },
  {
    name: 'the last look keeps back what waits for its minute',
    file: 'src/kernel/metrics/announcer.ts',
    edits: [['(!last && now - one', '(now - one']],
    tests: [announcer],
  },
  {
    name: 'what was counted before the first look is not told',
    file: 'src/kernel/metrics/announcer.ts',
    edits: [['told: 0,', 'told: one.read(),']],
    tests: [announcer],
  },
  {
    name: 'the end of main holds its last look to the minute',
    file: 'src/service/announce.ts',
    edits: [['announcer.look(true);', 'announcer.look();']],
    tests: [announce],
  },
  {
    name: 'dead letters of an earlier process look like news',
    file: 'src/service/announce.ts',
    edits: [['Math.max(0, board.get(i, now) - board.get(i, before))', 'board.get(i, now) - board.get(i, before)']],
    tests: [announce],
  },
  {
    name: 'a body without memory is told as rejected for good',
    file: 'src/collect/batch-route.ts',
    edits: [['meters.refused.body_memory :', 'meters.rejected.body_timeout :']],
    tests: [outcome],
  },
  {
    name: '/readyz lists only what is not well',
    file: 'src/service/routes-ops.ts',
    edits: [['missing, sinks, parts });', "missing, sinks, parts: parts.filter(({ state }) => state !== 'up') });"]],
    tests: [outcome],
  },
];
