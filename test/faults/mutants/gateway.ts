/** What the gateway promises. */
import type { Mutant } from './mutant.ts';

const sources = 'test/gateway/cache/gone-sources.test.ts';
const front = 'test/gateway/proxy/through-front.test.ts';
const text = 'test/gateway/record-text.test.ts';
const limits = 'test/gateway/front/limit-headers.test.ts';
const cache = 'src/gateway/cache/picture-cache.ts';
export const gatewayMutants: readonly Mutant[] = [
  {
    name: 'a kept connection is used although its backend is about to close it',
    file: 'src/gateway/proxy/connection-pool.ts',
    edits: [['if (connection.fresh) return connection;', 'if (connection !== undefined) return connection;']],
    tests: [front],
  },
  {
    name: 'a kept connection is used in the last second that its backend keeps it',
    file: 'src/gateway/proxy/connection.ts',
    edits: [['const CLOSING_S = 1;', 'const CLOSING_S = 0;']],
    tests: [front],
  },
  {
    name: 'no connection whose backend says for how long it keeps it is used again',
    file: 'src/gateway/proxy/connection.ts',
    edits: [['(keepAliveS - CLOSING_S) * 1000', '(keepAliveS - CLOSING_S) * 0']],
    tests: [front],
  },
  {
    name: 'a picture is kept whose source went while a backend made it',
    file: cache,
    edits: [['      flight.gone = true;\n      this.#flying.delete(key);', '      this.#flying.delete(key);']],
    tests: [sources],
  },
  {
    name: 'who comes after the end of a source gets what was made before',
    file: cache,
    edits: [['      flight.gone = true;\n      this.#flying.delete(key);', '      flight.gone = true;']],
    tests: [sources],
  },
  {
    name: 'a flight whose source is gone keeps its picture all the same',
    file: cache,
    edits: [['else if (!flight.gone && !this.#purges', 'else if (!this.#purges']],
    tests: [sources],
  },
  {
    name: 'a file stays whose source went while it was written',
    file: cache,
    edits: [['if (flight.gone) await disk.remove(request.key, request.source);', '']],
    tests: [sources],
  },
  {
    name: 'a record names the user of the one before',
    file: 'src/gateway/record-text.ts',
    edits: [['userId !== who.userId || keyId', 'keyId']],
    tests: [text],
  },
  {
    name: 'a record has the month of the one before',
    file: 'src/gateway/record-text.ts',
    edits: [['address !== from.address || month !== from.month', 'address !== from.address']],
    tests: [text],
  },
  {
    name: 'a record has the bytes of the one before',
    file: 'src/gateway/record-text.ts',
    edits: [['    bytesOut !== how.bytesOut ||\n', '']],
    tests: [text],
  },
  {
    name: 'an answer tells what remained for the one before',
    file: 'src/gateway/front/limit-headers.ts',
    edits: [['remaining !== remains || inS', 'inS']],
    tests: [limits],
  },
  {
    name: 'an answer tells the window of the one before',
    file: 'src/gateway/front/limit-headers.ts',
    edits: [['windows !== last?.windows || window !== last.window', 'windows !== last?.windows']],
    tests: [limits],
  },
];
