/** What the encoders promise of a line. */
import type { Mutant } from './mutant.ts';

const contract = 'test/collect/contract.test.ts';
export const eventsMutants: readonly Mutant[] = [
  {
    name: 'a name may stand twice in an object',
    file: 'src/events/json-scanner.ts',
    edits: [['if (names[i] === hash) this.twins = true;', 'if (names[i] === hash) this.twins = false;']],
    tests: [contract],
  },
  {
    name: 'a name may stand twice when it is spelled in two ways',
    file: 'src/events/json-twins.ts',
    edits: [['if (this.#scanner.escapedAt >= from) {', 'if (this.#scanner.escapedAt < from) {']],
    tests: [contract],
  },
  {
    name: 'an item may be nested as deep as it likes',
    file: 'src/events/json-scanner.ts',
    edits: [['if (depth >= depthMax) this.tooDeep = true;', '']],
    tests: [contract],
  },
  {
    name: 'an object of unknown keys is a page view',
    file: 'src/events/item-reader.ts',
    edits: [['if (slots.present === 0 && !this.#scanner.tooDeep) return nothingKnown;', '']],
    tests: [contract],
  },
  {
    name: 'a bad event_id is mended like any other key',
    file: 'src/events/item-reader.ts',
    edits: [['if (field === EVENT_ID && byte !== LETTER_N) return this.#notText(byte);', '']],
    tests: [contract],
  },
  {
    name: 'an event with keys of its own is an envelope',
    file: 'src/events/collect-encoder.ts',
    edits: [['item.slots.present === 0 ? item.envelope() : -1', 'item.envelope()']],
    tests: [contract],
  },
];
