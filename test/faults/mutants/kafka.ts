// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code
/** What delivery into Kafka rests on when brokers, clocks and other members are wrong. None of these tests starts a server. */
import type { Mutant } from './mutant.ts';

const encode = 'src/sinks/kafka/encode.ts';
const answer = 'src/store/kafka/answer.ts';
export const kafkaMutants: readonly Mutant[] = [
  {
    name: 'a refused batch that the broker may have gives its numbers away',
    file: 'src/sinks/kafka/partition-queue.ts',
    edits: [['if (part.unknown && this.#idempotent) this.#expected', 'if (!this.#idempotent) this.#expected']],
    tests: ['test/sinks/kafka/partition-queue.model.test.ts'],
  },
  {
    name: 'the clock of a client decides about the time of a record',
    file: encode,
    edits: [["if (time === 'received') return received;", "if (time === 'received') return tsMsAt(buffer, record);"]],
    tests: ['test/sinks/kafka/encode.test.ts'],
  },
  {
    name: 'an event may be as old as its client says',
    file: encode,
    edits: [['Math.max(0, received - EVENT_AGE_MS, Math.min(', 'Math.max(0, Math.min(']],
    tests: ['test/sinks/kafka/encode.test.ts'],
  },
  {
    name: 'a code that nobody knows repeats its batch for ever',
    file: 'src/sinks/kafka/verdict.ts',
    edits: [["doubts < DOUBTS_MAX - 1 ? 'retry' : 'split'", "doubts < 0 ? 'split' : 'retry'"]],
    tests: ['test/sinks/kafka/verdict.test.ts'],
  },
  {
    name: 'the length of an answer is believed',
    file: answer,
    edits: [['|| length > ANSWER_BYTES_MAX)', '|| length > 2 ** 40)']],
    tests: ['test/store/kafka/answer.test.ts'],
  },
  {
    name: 'a member that cannot be understood is read beyond its words',
    file: 'src/store/kafka/group.ts',
    edits: [['if (count < 0 || count * bytes >', 'if (count * bytes >']],
    tests: ['test/store/kafka/answer.test.ts'],
  },
  {
    name: 'a fetch that brings nothing new is taken for progress',
    file: 'src/store/kafka/partition.ts',
    edits: [['if (next <= this.fetchFrom)', 'if (next < 0)']],
    tests: ['test/store/kafka/answer.test.ts'],
  },
  {
    name: 'a record may lie outside its batch',
    file: 'src/store/kafka/partition.ts',
    edits: [['offsetDelta >= 0 && offsetDelta <= lastDelta', 'offsetDelta >= 0']],
    tests: ['test/store/kafka/answer.test.ts'],
  },
];
