/**
 * Mutants of the HTTP side: each breaks one promise on purpose, and a test must go red.
 *
 *   node test/pixel/mutants.ts [word]     all, or those whose name holds the word; exit 1 when one survives
 *
 * Works on a copy of the tree: nothing here is changed.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The test that must go red. */
  readonly test: string;
}

const contract = 'test/pixel/contract.test.ts';
const outcome = 'test/pixel/outcome.test.ts';
const wire = 'test/http/wire.test.ts';
const mutants: readonly Mutant[] = [
  {
    name: 'bad framing is answered inside the handler',
    file: 'src/http/guards.ts',
    from: '  setImmediate(() => {\n    if (!gone) res.cork(answer);\n  });',
    to: '  if (!gone) answer();',
    test: wire,
  },
  {
    name: 'a second Content-Length is taken',
    file: 'src/http/guards.ts',
    from: 'if (lengths > 1)',
    to: 'if (lengths > 2)',
    test: contract,
  },
  {
    name: 'any Transfer-Encoding is taken',
    file: 'src/http/guards.ts',
    from: "encoding.toLowerCase() !== 'chunked'",
    to: "!encoding.toLowerCase().includes('chunked')",
    test: contract,
  },
  {
    name: 'a GET is not looked at for its framing',
    file: 'src/http/router.ts',
    from: 'if (!seldom || hasFraming(req)) {',
    to: 'if (!seldom || (hasFraming(req) && at.head)) {',
    test: contract,
  },
  {
    name: 'a chunked body is handed on at once',
    file: 'src/http/body.ts',
    from: 'if (this.#chunked) setImmediate(() => this.#passKept(false));',
    to: 'if (this.#chunked) this.#passKept(true);',
    test: wire,
  },
  {
    name: 'a body whose connection has gone is handed on',
    file: 'src/http/body.ts',
    from: 'if (!this.#gone) this.#pass(',
    to: 'if (this.#buffer !== undefined) this.#pass(',
    test: wire,
  },
  {
    name: 'a body may be one byte too large',
    file: 'src/http/body.ts',
    from: 'if (bytes > this.#reader.limits.maxBodyBytes) {',
    to: 'if (bytes > this.#reader.limits.maxBodyBytes + 1) {',
    test: wire,
  },
  {
    name: 'the buffer of a body is not given back',
    file: 'src/http/body.ts',
    from: '    this.#held -= buffer.length;',
    to: '',
    test: wire,
  },
  {
    name: 'bodies have no bound of memory',
    file: 'src/http/body.ts',
    from: 'if (this.#held + size > this.limits.bodyMemoryBytes)',
    to: 'if (this.#held + size > 1e12)',
    test: wire,
  },
  {
    name: 'a slow body is waited for',
    file: 'src/http/deadlines.ts',
    from: 'while (this.#oldest !== undefined && this.#oldest.dueMs <= now)',
    to: 'while (this.#oldest !== undefined && this.#oldest.dueMs <= now - 1e9)',
    test: wire,
  },
  {
    name: 'a bomb is unpacked whole',
    file: 'src/http/decompress.ts',
    from: 'const options = { maxOutputLength: this.#limit };',
    to: 'const options = {};',
    test: wire,
  },
  {
    name: 'an answer that waits leaves at once',
    file: 'src/collect/pixel-route.ts',
    from: 'res.onAborted(slot.aborting);',
    to: 'res.onAborted(slot.aborting);\n        slot.answering();',
    test: outcome,
  },
  {
    name: 'a failed write is answered as stored',
    file: 'src/collect/pixel-route.ts',
    from: "slot.res.cork(outcome === 'stored' ? slot.answering : slot.failing);",
    to: 'slot.res.cork(slot.answering);',
    test: outcome,
  },
  {
    name: 'a refused batch stays in the draft',
    file: 'src/service/intake.ts',
    from: '    if (refusal !== undefined) {\n      lane.rewind(mark);',
    to: '    if (refusal !== undefined) {',
    test: outcome,
  },
  {
    name: 'a batch without a good item stays in the draft',
    file: 'src/service/intake.ts',
    from: "    if (made !== 'ok') {\n      lane.rewind(mark);",
    to: "    if (made !== 'ok') {",
    test: contract,
  },
  {
    name: 'do not track is recorded by /collect',
    file: 'src/collect/collect-route.ts',
    from: "result.accepted > 0 && this.#track !== 'drop' ? 'ok' : 'nothing'",
    to: "result.accepted > 0 ? 'ok' : 'nothing'",
    test: contract,
  },
  {
    name: 'do not track is ignored by the pixel',
    file: 'src/visitor/visitor.ts',
    from: "req.getHeader(asked.gpc) !== '1'",
    to: "req.getHeader(asked.gpc) !== '2'",
    test: contract,
  },
  {
    name: 'a malformed cookie is taken',
    file: 'src/visitor/visitor.ts',
    from: "isSid(sid) ? sid : ''",
    to: 'sid',
    test: contract,
  },
  {
    name: '* goes with credentials',
    file: 'src/http/cors.ts',
    from: "res.writeHeader('Access-Control-Allow-Origin', '*');",
    to: "{\n      res.writeHeader('Access-Control-Allow-Origin', '*');\n      res.writeHeader('Access-Control-Allow-Credentials', 'true');\n    }",
    test: contract,
  },
  {
    name: 'a foreign origin is let in',
    file: 'src/http/cors.ts',
    from: "? 'listed' : 'foreign'",
    to: "? 'listed' : 'none'",
    test: contract,
  },
  {
    name: 'garbage in X-Forwarded-For is believed',
    file: 'src/http/client-address.ts',
    from: "if (address !== '' || start === end) return address;",
    to: 'if (address !== "" || start === end) return address;\n  if (start < end) return text.slice(start, end);',
    test: contract,
  },
  {
    name: 'the left-most of X-Forwarded-For is believed by hops',
    file: 'src/http/client-address.ts',
    from: 'hop < hops && end >= 0',
    to: 'hop < 99 && end >= 0',
    test: contract,
  },
  {
    name: 'a connection over the limit stays',
    file: 'src/http/listen.ts',
    from: '        res.close();',
    to: '',
    test: contract,
  },
  {
    name: 'the salt of yesterday is kept',
    file: 'src/visitor/privacy.ts',
    from: '  return { day, salt };\n}\n\nconst FILE',
    to: '  return { day, salt: link.salt };\n}\n\nconst FILE',
    test: 'test/visitor/privacy.test.ts',
  },
  {
    name: 'headers are taken for Latin-1',
    file: 'src/http/header-text.ts',
    from: "Buffer.from(raw, 'latin1').toString('utf8')",
    to: 'raw',
    test: contract,
  },
  {
    name: 'an exception leaves half of a batch',
    file: 'src/service/intake.ts',
    from: '    } catch (error) {\n      lane.rewind(mark);\n',
    to: '    } catch (error) {\n',
    test: outcome,
  },
];

const word = process.argv[2] ?? '';
const root = join(import.meta.dirname, '..', '..');
let survivors = 0;
for (const { name, file, from, to, test } of mutants.filter((mutant) => mutant.name.includes(word))) {
  const copy = mkdtempSync(join(tmpdir(), 'ringmain-mutant-'));
  try {
    for (const part of ['src', 'test', 'package.json', 'vitest.config.ts'])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const path = join(copy, file);
    const source = readFileSync(path, 'utf8');
    if (source.split(from).length !== 2) throw new Error(`the place must be there once: ${name}`);
    writeFileSync(
      path,
      source.replace(from, () => to),
    );
    const args = ['node_modules/vitest/vitest.mjs', 'run', '--test-timeout=60000', test];
    const run = spawnSync(process.execPath, args, { cwd: copy, encoding: 'utf8', timeout: 90_000 });
    const red = run.status !== 0;
    if (!red) survivors += 1;
    console.log(`${red ? 'red     ' : 'SURVIVED'}  ${name}`);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
console.log(survivors === 0 ? 'every mutant was found' : `${survivors} survived`);
process.exitCode = survivors === 0 ? 0 : 1;
