/** What the HTTP side promises. */
import type { Mutant } from './mutant.ts';

const contract = 'test/collect/contract.test.ts';
const outcome = 'test/collect/outcome.test.ts';
const router = 'test/http/router.test.ts';
const reply = 'test/http/reply.test.ts';
const assets = 'test/http/assets.test.ts';
const wire = 'test/http/wire.test.ts';
const headers = 'test/http/headers.test.ts';
const address = 'test/http/client-address.test.ts';
const cookie = 'test/visitor/cookie.test.ts';
const fairness = 'test/http/fairness.test.ts';
export const httpMutants: readonly Mutant[] = [
  {
    name: 'one connection may have any share of a turn',
    file: 'src/http/fairness.ts',
    edits: [['if (this.#run >= TURN_UNITS) {', 'if (this.#run >= 1e9) {']],
    tests: [fairness],
  },
  {
    name: 'all requests of a turn are taken for one connection',
    file: 'src/http/fairness.ts',
    edits: [['this.#answered && this.#kept?.getWriteOffset() === 0', 'this.#kept !== undefined']],
    tests: [fairness],
  },
  {
    name: 'a connection may ask for answers without a body for ever',
    file: 'src/http/fairness.ts',
    edits: [['if (Math.random() < BLIND_SHARE)', 'if (Math.random() < 0)']],
    tests: [fairness],
  },
  {
    name: 'a body costs nothing of a share',
    file: 'src/http/fairness.ts',
    edits: [['this.#left -= Math.floor(bytes / UNIT_BYTES);', 'this.#left -= Math.floor(bytes / 1e12);']],
    tests: [fairness],
  },
  {
    name: 'the refusal of a pipeliner waits in the buffer of the addon',
    file: 'src/http/fairness.ts',
    edits: [['close: true, push: PUSH', 'close: true']],
    tests: [fairness],
  },
  {
    name: 'an answer behind a PROXY header leaves before the end of the read',
    file: 'src/http/hold-back.ts',
    edits: [
      ['    setImmediate(() => {\n      if (gone) return;\n', '    {\n'],
      ['      close?.();\n    });\n    return res;', '      close?.();\n    }\n    return res;'],
    ],
    tests: [fairness],
  },
  {
    name: 'small answers are buffered whether they are read or not',
    file: 'src/http/hold-back.ts',
    edits: [
      [
        'if (close || kept.length === 0) end.call(res, kept, close);',
        'if (kept !== undefined) end.call(res, kept, close);',
      ],
    ],
    tests: [fairness],
  },
  {
    name: 'large answers are buffered whether they are read or not',
    file: 'src/http/hold-back.ts',
    edits: [['if (close || body.length <= SMALL_BYTES)', 'if (close || body.length > 0)']],
    tests: [fairness],
  },
  {
    name: 'bad framing is answered inside the handler',
    file: 'src/http/guards.ts',
    edits: [['  setImmediate(() => {\n    if (!gone) res.cork(answer);\n  });', '  if (!gone) answer();']],
    tests: [wire],
  },
  {
    name: 'a refusal closes while the body is still on its way',
    file: 'src/http/answer.ts',
    edits: [
      [
        'if (close && head !== true && rest?.over === false) {',
        'if (close && head === true && rest?.over === false) {',
      ],
    ],
    tests: [reply],
  },
  {
    name: 'an answer closes while the body is still on its way',
    file: 'src/http/reply.ts',
    edits: [['if (waits && closes && rest?.over === false)', 'if (waits && !closes && rest?.over === false)']],
    tests: [reply],
  },
  {
    name: 'a stream ends and closes while the body is still on its way',
    file: 'src/http/reply-stream.ts',
    edits: [['if (rest?.over === false) {', 'if (rest?.over === true) {']],
    tests: [reply],
  },
  {
    name: 'a second Content-Length is taken',
    file: 'src/http/guards.ts',
    edits: [['if (lengths > 1)', 'if (lengths > 2)']],
    tests: [contract],
  },
  {
    name: 'any Transfer-Encoding is taken',
    file: 'src/http/guards.ts',
    edits: [["encoding.toLowerCase() !== 'chunked'", "!encoding.toLowerCase().includes('chunked')"]],
    tests: [contract],
  },
  {
    name: 'a GET of any route is looked at for the first framing header alone',
    file: 'src/http/router.ts',
    edits: [['bodiless.has(at.method) && route.hot === true', 'bodiless.has(at.method)']],
    tests: [router],
  },
  {
    name: 'a reserve has a seat for everybody',
    file: 'src/http/connection-room.ts',
    edits: [['if (last !== undefined && now - last < SEAT_EVERY_MS) return false;', '']],
    tests: ['test/http/listen.test.ts'],
  },
  {
    name: 'a GET is not looked at for its framing',
    file: 'src/http/router.ts',
    edits: [['seldom && !hasFraming(req) ?', 'seldom && !(hasFraming(req) && at.head) ?']],
    tests: [contract],
  },
  {
    name: 'a chunked body is handed on at once',
    file: 'src/http/body.ts',
    edits: [
      ['if (this.#chunked) setImmediate(() => this.#passKept(false));', 'if (this.#chunked) this.#passKept(true);'],
    ],
    tests: [wire],
  },
  {
    name: 'a body whose connection has gone is handed on',
    file: 'src/http/body.ts',
    edits: [['if (!this.#gone) this.#pass(', 'if (this.#buffer !== undefined) this.#pass(']],
    tests: [wire],
  },
  {
    name: 'a body may be one byte too large',
    file: 'src/http/body.ts',
    edits: [['if (bytes > this.#reader.limits.maxBodyBytes) {', 'if (bytes > this.#reader.limits.maxBodyBytes + 1) {']],
    tests: [wire],
  },
  {
    name: 'the buffer of a body is not given back',
    file: 'src/http/body.ts',
    edits: [['    this.#held -= buffer.length;', '']],
    tests: [wire],
  },
  {
    name: 'bodies have no bound of memory',
    file: 'src/http/body.ts',
    edits: [['if (this.#held + size > this.limits.bodyMemoryBytes)', 'if (this.#held + size > 1e12)']],
    tests: [wire],
  },
  {
    name: 'a slow body is waited for',
    file: 'src/http/deadlines.ts',
    edits: [
      [
        'while (this.#oldest !== undefined && this.#oldest.dueMs <= now)',
        'while (this.#oldest !== undefined && this.#oldest.dueMs <= now - 1e9)',
      ],
    ],
    tests: [wire],
  },
  {
    name: 'a bomb is unpacked whole',
    file: 'src/http/decompress.ts',
    edits: [['const options = { maxOutputLength: this.#limit };', 'const options = {};']],
    tests: [wire],
  },
  {
    name: 'an answer that waits leaves at once',
    file: 'src/collect/pixel-route.ts',
    edits: [['res.onAborted(slot.aborting);', 'res.onAborted(slot.aborting);\n        slot.answering();']],
    tests: [outcome],
  },
  {
    name: 'a failed write is answered as stored',
    file: 'src/collect/pixel-route.ts',
    edits: [["slot.res.cork(outcome === 'stored' ? slot.answering : slot.failing);", 'slot.res.cork(slot.answering);']],
    tests: [outcome],
  },
  {
    name: 'a refused batch stays in the draft',
    file: 'src/service/intake.ts',
    edits: [['    if (refusal !== undefined) {\n      lane.rewind(mark);', '    if (refusal !== undefined) {']],
    tests: [outcome],
  },
  {
    name: 'a batch without a good item stays in the draft',
    file: 'src/service/intake.ts',
    edits: [["    if (made !== 'ok') {\n      lane.rewind(mark);", "    if (made !== 'ok') {"]],
    tests: [contract],
  },
  {
    name: 'do not track is recorded by /collect',
    file: 'src/collect/batch-route.ts',
    edits: [
      ["result.accepted > 0 && this.#track !== 'drop' ? 'ok' : 'nothing'", "result.accepted > 0 ? 'ok' : 'nothing'"],
    ],
    tests: [contract],
  },
  {
    name: 'do not track is ignored by the pixel',
    file: 'src/visitor/visitor.ts',
    edits: [["req.getHeader(asked.gpc) !== '1'", "req.getHeader(asked.gpc) !== '2'"]],
    tests: [contract],
  },
  {
    name: 'a malformed cookie is taken',
    file: 'src/visitor/visitor.ts',
    edits: [['cookieValue(header, cookieName, isSid)', 'cookieValue(header, cookieName, () => true)']],
    tests: [contract],
  },
  {
    name: 'a sid is made on pages of other sites',
    file: 'src/visitor/visitor.ts',
    edits: [["=== 'cross-site' &&", "=== 'other-site' &&"]],
    tests: [cookie],
  },
  {
    name: 'a sid is made in frames of other sites',
    file: 'src/visitor/visitor.ts',
    edits: [["      if (access !== '') return false;\n", '']],
    tests: [cookie],
  },
  {
    name: 'only the first Cookie line counts',
    file: 'src/visitor/visitor.ts',
    edits: [['    req.forEach(this.#note);\n', '']],
    tests: [contract],
  },
  {
    name: 'the first well-formed sid of all Cookie lines counts, whoever made it',
    file: 'src/visitor/visitor.ts',
    edits: [["if (this.#found === '' || isOwn(sid)) this.#found = sid;", "if (this.#found === '') this.#found = sid;"]],
    tests: [contract],
  },
  {
    name: 'the last proxy says what the client spoke',
    file: 'src/http/client-address.ts',
    edits: [['given.slice(0, comma)).trim()', 'given.slice(comma + 1)).trim()']],
    tests: [address],
  },
  {
    name: '* goes with credentials on every route',
    file: 'src/http/cors.ts',
    edits: [['return this.#intake && origin.length', 'return origin.length']],
    tests: [headers],
  },
  {
    name: '* goes without credentials on intake routes',
    file: 'src/collect/collect.ts',
    edits: [['new Cors(http.corsOrigins, { intake: true, exposed', 'new Cors(http.corsOrigins, { exposed']],
    tests: [contract],
  },
  {
    name: 'a star takes what only ends like its domain',
    file: 'src/http/cors.ts',
    edits: [['return NAMES.test(origin.slice(start.length, -end.length));', 'return true;']],
    tests: [headers],
  },
  {
    name: 'null of a list is echoed on every route',
    file: 'src/http/cors.ts',
    edits: [["(intake || item !== 'null')", "(intake || item !== '')"]],
    tests: [headers],
  },
  {
    name: 'a foreign origin is let in',
    file: 'src/http/cors.ts',
    edits: [["return 'listed';\n    return 'foreign';", "return 'listed';\n    return 'none';"]],
    tests: [contract],
  },
  {
    name: 'garbage in X-Forwarded-For is believed',
    file: 'src/http/client-address.ts',
    edits: [
      [
        "if (address !== '' || start === end) return address;",
        'if (address !== "" || start === end) return address;\n  if (start < end) return text.slice(start, end);',
      ],
    ],
    tests: [contract],
  },
  {
    name: 'a quote of a client swallows the element of our proxy',
    file: 'src/http/client-address.ts',
    edits: [['  start: elementStart,', '  start: () => 0,']],
    tests: [address],
  },
  {
    name: 'a comma in quotes ends an element of Forwarded',
    file: 'src/http/forwarded.ts',
    edits: [['else if (c === COMMA && !quoted) return i + 1;', 'else if (c === COMMA) return i + 1;']],
    tests: [address],
  },
  {
    name: 'the port of CloudFront is a group of the address',
    file: 'src/http/client-address.ts',
    edits: [['? withPort : list', '? list : withPort']],
    tests: [address],
  },
  {
    name: 'only the first line of X-Forwarded-For is seen',
    file: 'src/http/client-address.ts',
    edits: [['SET_BY_CDN.has(header) ?', "SET_BY_CDN.has(header) || header === 'x-forwarded-for' ?"]],
    tests: [address],
  },
  {
    name: 'the left-most of X-Forwarded-For is believed by hops',
    file: 'src/http/client-address.ts',
    edits: [['hop < hops && end >= 0', 'hop < 99 && end >= 0']],
    tests: [contract],
  },
  {
    name: 'a connection over the limit stays',
    file: 'src/http/listen.ts',
    edits: [['        res.close();', '']],
    tests: [contract],
  },
  {
    name: 'the salt of yesterday is kept',
    file: 'src/visitor/salts.ts',
    edits: [['this.#put(nextSalt(this.#salt()));', 'this.#put(Uint8Array.from(this.#salt()));']],
    tests: ['test/visitor/privacy.test.ts'],
  },
  {
    name: 'headers are taken for Latin-1',
    file: 'src/http/header-text.ts',
    edits: [["Buffer.from(raw, 'latin1').toString('utf8')", 'raw']],
    tests: [contract],
  },
  {
    name: 'an exception leaves half of a batch',
    file: 'src/service/intake.ts',
    edits: [['    } catch (error) {\n      lane.rewind(mark);\n', '    } catch (error) {\n']],
    tests: [outcome],
  },
  {
    name: 'the framing of a path without a route is not looked at',
    file: 'src/http/router.ts',
    edits: [
      [
        'if (framing.bad !== undefined) {\n        tally.answered(400);',
        'if (framing.bytes < 0) {\n        tally.answered(400);',
      ],
    ],
    tests: [router],
  },
  {
    name: 'a chunked body is let in where nobody reads it',
    file: 'src/http/router.ts',
    edits: [['if (framing.bad !== undefined || framing.chunked) {', 'if (framing.bad !== undefined) {']],
    tests: [router],
  },
  {
    name: 'a pattern takes the methods of a more exact path',
    file: 'src/http/router.ts',
    edits: [['if (!on.has(method) && takenByPattern', 'if (on.has(method) && takenByPattern']],
    tests: [router],
  },
  {
    name: 'a rejected handler is not answered for',
    file: 'src/http/router.ts',
    edits: [
      ['if (result instanceof Promise) result.catch(', 'if (result instanceof Error) Promise.reject(result).catch('],
    ],
    tests: [router],
  },
  {
    name: 'a body outlives the answer to its request',
    file: 'src/http/reply.ts',
    edits: [['      this.#rest = this.#body.drop();\n', '']],
    tests: [reply],
  },
  {
    name: 'a chunked body that nobody waits for is answered inside the handler',
    file: 'src/http/reply.ts',
    edits: [['if (this.#framing.chunked && this.#inHandler)', 'if (this.#framing.bytes < 0 && this.#inHandler)']],
    tests: [reply],
  },
  {
    name: 'a late answer has no bound of time',
    file: 'src/http/reply.ts',
    edits: [['    else deadlines.add(this);', '    else deadlines.remove(this);']],
    tests: [reply],
  },
  {
    name: 'a link in the folder of a front end is followed',
    file: 'src/http/assets.ts',
    edits: [['entry.isFile() ? [path] : []', '[path]']],
    tests: [assets],
  },
  {
    name: 'the encodings of a file share a tag',
    file: 'src/http/assets.ts',
    edits: [["const etag = encoding === ''", 'const etag = encoding.length < 9']],
    tests: [assets],
  },
];
