import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { test } from 'vitest';
import { copyMended, decodeString } from '../../src/events/json-mend.ts';
import { JsonScanner } from '../../src/events/json-scanner.ts';
import { SLACK, viewOf } from '../../src/events/json-text.ts';
import { MEND, PLAIN } from '../../src/events/line-plan.ts';
import { jsonCases } from './json-cases.ts';
import { depthOf, hasTwins, wellFormed } from './reference.ts';
import { LONG_MS, long, propertyOf, randomOf, seed } from './seed.ts';

const DEPTH = 64;
const MARGIN = 32;

/** What the scanner noted of the last text that scanned() took. */
let tooDeep = false;
let twins = false;

/** Scans a whole text as a /collect body is scanned: the slice as it would come into the line, undefined when it is not JSON. */
function scanned(body: Buffer, depthMax = DEPTH): { json: string; how: number } | undefined {
  if (!isUtf8(body)) return undefined;
  // What lies behind the zeros is a trap: a scanner that runs over them would find more JSON.
  const text = Buffer.concat([body, Buffer.alloc(SLACK), Buffer.from('"}]"}]"}]0000')]);
  const scanner = new JsonScanner(depthMax);
  scanner.use(text, viewOf(text));
  const from = scanner.skip(0);
  const to = scanner.value(from);
  if (to < 0) {
    assert.ok(scanner.reason !== '' && scanner.failedAt >= 0 && scanner.failedAt <= body.length, 'says where and why');
    return undefined;
  }
  assert.ok(to <= body.length, `ran over the end: to=${to}`);
  if (scanner.skip(to) !== body.length) return undefined;
  tooDeep = scanner.tooDeep;
  twins = scanner.twins;
  const target = Buffer.alloc(to - from + MARGIN, 0xa5);
  const end = copyMended(text, from, to, false, target, 0);
  assert.ok(end <= to - from, 'mending makes nothing longer');
  assert.equal(target[end], 0xa5, 'mending writes nothing behind its end');
  if (scanner.how === PLAIN) assert.equal(target.toString('utf8', 0, end), text.toString('utf8', from, to));
  return { json: target.toString('utf8', 0, end), how: scanner.how };
}

function parsed(body: Buffer): { value: unknown } | undefined {
  if (!isUtf8(body)) return undefined;
  try {
    return { value: JSON.parse(body.toString()) as unknown };
  } catch {
    return undefined;
  }
}

/** Both take or both refuse, and what is taken has the same value. */
function compare(body: Buffer): void {
  // Beyond the bound the text is judged just as strictly.
  const beyond = scanned(body, 1);
  const ours = scanned(body);
  assert.deepEqual(beyond, ours);
  const theirs = parsed(body);
  assert.equal(
    ours !== undefined,
    theirs !== undefined,
    `scanner and JSON.parse differ: ${JSON.stringify(body.toString())}`,
  );
  if (ours === undefined) return;
  // A twin that JSON.parse drops may be the deepest value.
  if (!hasTwins(ours.json)) assert.equal(tooDeep, depthOf(theirs!.value as never) > DEPTH, 'deeper than allowed');
  else assert.ok(twins, `twins are always noted: ${ours.json}`);
  assert.ok(!/[\n\r]/.test(ours.json), 'no raw newline');
  assert.deepEqual(JSON.parse(ours.json), wellFormed(theirs!.value as never));
}

for (const { name, text, valid } of jsonCases) {
  test(`${valid ? 'takes' : 'refuses'} ${name}`, () => {
    assert.equal(parsed(text) !== undefined, valid, 'JSON.parse does not agree with this case');
    assert.equal(scanned(text) !== undefined, valid);
    // Within an array, and at every distance from the end of a word.
    for (let pad = 0; pad < 4; pad += 1) {
      const wrapped = Buffer.concat([Buffer.from(`["${'x'.repeat(pad)}",`), text, Buffer.from(']')]);
      compare(wrapped);
    }
  });
}

const notUtf8: [name: string, bytes: number[]][] = [
  ['a stray continuation byte', [0x80]],
  ['a truncated sequence', [0xe2, 0x82]],
  ['an overlong form', [0xc0, 0xaf]],
  ['a surrogate', [0xed, 0xa0, 0x80]],
  ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
  ['UTF-16', [0xff, 0xfe, 0x31, 0x00]],
];
for (const [name, bytes] of notUtf8) {
  test(`refuses bytes that are not UTF-8: ${name}`, () => {
    assert.equal(scanned(Buffer.from([0x22, ...bytes, 0x22])), undefined);
  });
}

test('nesting beyond the bound is noted, of arrays, objects and both', () => {
  const shapes: [string, string][] = [
    ['[', ']'],
    ['{"a":', '}'],
    ['[{"a":', '}]'],
  ];
  for (const [open, close] of shapes) {
    const levels = open.replace(/[^[{]/g, '').length;
    const nested = (count: number): Buffer => Buffer.from(`${open.repeat(count)}1${close.repeat(count)}`);
    assert.ok(scanned(nested(12 / levels), 12) && !tooDeep);
    assert.ok(scanned(nested(12 / levels + 1), 12) && tooDeep);
    assert.ok(scanned(nested(100_000)) && tooDeep, 'no stack overflow');
  }
  assert.ok(scanned(Buffer.from('[[],[],[[]]]'), 3) && !tooDeep);
  assert.ok(scanned(Buffer.from('[[[[]]]]'), 3) && tooDeep, 'an empty container counts');
});

test('a value is told to need mending only when it does', () => {
  const how = (text: string): number => scanned(Buffer.from(text))!.how;
  for (const text of ['1', ' "a b" ', '{"a":[1,2,{"b":null}]}', '"\\ud83d\\ude00\\n"', '"x  y"'])
    assert.equal(how(text), PLAIN, text);
  for (const text of ['[ ]', '[1 ]', '[1, 2]', '{"a" :1}', '{"a": 1}', '{ }', '"\\ud83d"', '{"\\udc00":1}'])
    assert.equal(how(text), MEND, text);
});

test('twins are noted wherever they stand, and names of different objects are none', () => {
  const noted = (text: string): boolean => {
    assert.ok(scanned(Buffer.from(text)), text);
    return twins;
  };
  const many = (count: number): string => Array.from({ length: count }, (_, i) => `"name${i}":${i}`).join();
  for (const text of [
    '{"a":1,"a":2}',
    '{"":1,"":2}',
    '{"abc":{},"b":[],"abc":1}',
    '[0,{"x":{"long name":1,"b":{"long name":0},"long name":2}}]',
    '{"a":1,"\\u0061":2}',
    '{"a":{"b":{"c":1}},"d":[{"e":1}],"a":0}',
    `{${many(60)},"name7":0}`,
    `{${many(600)},"name555":0}`,
    `{${many(64)},"deep":{"k":1,"k":2}}`,
  ]) {
    assert.ok(noted(text), text);
  }
  for (const text of [
    '[{"a":1},{"a":2}]',
    '{"a":{"a":{"a":1}},"b":{"a":1}}',
    '{"a":"a","b":"a"}',
    '{"a":"\\n"}',
    '{"a":1,"aa":2,"aaa":3,"aaaa":4,"aaaaa":5}',
    '{"item_1_price":1,"item_2_price":2}',
    `{${many(60)}}`,
  ]) {
    assert.ok(!noted(text), text);
  }
});

test('a broken text is told by place and reason', () => {
  const broken: [text: string, at: number, reason: RegExp][] = [
    ['{"a":1,}', 7, /name in double quotes/],
    ['{"a" 1}', 5, /expected :/],
    ['[1 2]', 3, /expected , or \]/],
    ['{"a":1]', 6, /expected , or \}/],
    ['[1.]', 3, /digit/],
    ['"abc', 4, /closing quote/],
    ['"a\\q"', 3, /after a backslash/],
    ['"\\u12G4"', 3, /hexadecimal/],
    ['[tru]', 1, /a value/],
  ];
  for (const [text, at, reason] of broken) {
    const bytes = Buffer.concat([Buffer.from(text), Buffer.alloc(SLACK)]);
    const scanner = new JsonScanner(DEPTH);
    scanner.use(bytes, viewOf(bytes));
    assert.equal(scanner.value(0), -1);
    assert.equal(scanner.failedAt, at, text);
    assert.match(scanner.reason, reason);
  }
});

test('strings are unescaped as JSON.parse does', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 4 }).map((text) => JSON.stringify(text.toWellFormed()).slice(1, -1)),
          fc.constantFrom(
            '\\u0041',
            '\\ud83d\\ude00',
            '\\ud83d',
            '\\ude00',
            '\\/',
            '\\b',
            '\\u20AC',
            '\\u00e9',
            '\\u0000',
            'é😀',
          ),
        ),
      ),
      (chunks) => {
        const source = Buffer.from(chunks.join(''));
        const target = Buffer.alloc(source.length + 8, 0xa5);
        const end = decodeString(source, 0, source.length, target, 0);
        assert.ok(end <= source.length);
        const expected = (JSON.parse(`"${source.toString()}"`) as string).toWellFormed();
        assert.equal(target.toString('utf8', 0, end), expected);
        assert.equal(target[end], 0xa5);
      },
    ),
    propertyOf(2000),
  );
});

test(`any JSON value is taken and keeps its value (seed ${seed})`, () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 6, stringUnit: 'binary' }),
      fc.constantFrom(undefined, 1, '\t', '\r\n '),
      (json, space) => {
        compare(Buffer.from(space === undefined ? json : JSON.stringify(JSON.parse(json), undefined, space as string)));
      },
    ),
    propertyOf(3000),
  );
});

// Goal: no text exists that scanner and JSON.parse judge differently. Method: texts near the border between valid and not, made by
// cutting, doubling, swapping and replacing bytes of valid and invalid ones.
test(`mutated texts are judged as JSON.parse judges them (seed ${seed})`, () => {
  const random = randomOf(seed);
  const alphabet = Buffer.from('{}[]:,"\\/bfnrtu0123456789aAeE+-. \t\n\rxé\0\x1f\x7f');
  const corpus = jsonCases.map(({ text }) => text).filter((text) => text.length > 0);
  for (let i = 0; i < 300; i += 1) {
    corpus.push(
      Buffer.from(JSON.stringify(fc.sample(fc.jsonValue({ maxDepth: 3 }), { numRuns: 1, seed: seed + i })[0])),
    );
  }
  const mutate = (text: Buffer): Buffer => {
    const bytes = [...text.subarray(0, 400)];
    for (let edits = 1 + random(3); edits > 0; edits -= 1) {
      const at = random(bytes.length + 1);
      const other = corpus[random(corpus.length)]!;
      const kind = random(6);
      if (kind === 0) bytes.splice(at, 1 + random(3));
      else if (kind === 1) bytes.splice(at, 0, alphabet[random(alphabet.length)]!);
      else if (kind === 2) bytes[Math.min(at, bytes.length)] = alphabet[random(alphabet.length)]!;
      else if (kind === 3) bytes.splice(at, 0, ...bytes.slice(at, at + random(8)));
      else if (kind === 4) bytes.splice(at, random(4), ...other.subarray(0, 40));
      else bytes[Math.min(at, bytes.length)] = random(256);
    }
    return Buffer.from(bytes);
  };
  const until = Date.now() + (long ? LONG_MS : 5_000);
  let taken = 0;
  let refused = 0;
  while (Date.now() < until) {
    for (let i = 0; i < 200; i += 1) {
      const text = mutate(corpus[random(corpus.length)]!);
      compare(text);
      if (parsed(text) === undefined) refused += 1;
      else taken += 1;
    }
  }
  assert.ok(taken > refused / 20, `the border is met from both sides: taken=${taken}, refused=${refused}`);
});
