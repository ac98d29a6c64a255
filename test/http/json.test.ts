/** Bodies from schemas: the serializer of the library against JSON.stringify. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { test } from 'vitest';
import { serializeAccepted } from '../../src/collect/schemas.generated.ts';
import { codeOf, compileSerializers, serializerOf } from '../../src/http/json.ts';
import { problemBody } from '../../src/http/problem.generated.ts';
import { readinessBody } from '../../src/service/schemas.generated.ts';
import { type Part, readinessSchema } from '../../src/service/schemas.ts';
import { generated } from '../serializers.ts';

const text = fc.string({ unit: 'binary' });
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const standard = ['type', 'title', 'status', 'code', 'detail'];

test('a problem has its five members first, then those of its code, whatever their values', () => {
  const members = fc.dictionary(
    fc.string({ minLength: 1 }).filter((name) => !standard.includes(name) && name !== '__proto__'),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(members, text, text, (own, title, detail) => {
      const problem = { ...own, type: 'urn:x', title, status: 400, code: 'X', detail };
      const body = problemBody(problem);
      assert.deepEqual(JSON.parse(body), asJson(problem));
      assert.equal(
        Object.keys(JSON.parse(body) as object)
          .filter((name) => standard.includes(name))
          .join(),
        standard.join(),
      );
    }),
  );
  const body = problemBody({ limit: 5, type: 't', title: 'a', status: 413, code: 'C', detail: 'd' });
  assert.equal(body, '{"type":"t","title":"a","status":413,"code":"C","detail":"d","limit":5}');
});

test('the 202 of /collect and /readyz read as JSON.stringify would write them, byte by byte', () => {
  const error = fc.record(
    { index: fc.nat(), event_id: text, code: fc.constant('INVALID_EVENT'), message: text },
    { requiredKeys: ['index', 'code', 'message'] },
  );
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.array(error), (accepted, rejected, errors) => {
      const plain = { accepted, status: 'ok' } as const;
      assert.equal(serializeAccepted(plain), JSON.stringify(plain));
      const mixed = { accepted, status: 'ok', rejected, errors } as Parameters<typeof serializeAccepted>[0];
      assert.equal(serializeAccepted(mixed), JSON.stringify(mixed));
    }),
  );
  const missing = fc.array(fc.record({ part: text, reason: text }));
  const { kind, state } = readinessSchema.properties.parts.items.properties;
  const parts = fc.array(
    fc.record(
      { part: text, kind: fc.constantFrom(...kind.enum), state: fc.constantFrom(...state.enum), reason: text },
      { requiredKeys: ['part', 'kind', 'state'] },
    ),
  ) as fc.Arbitrary<Part[]>;
  fc.assert(
    fc.property(missing, missing, parts, (judged, sinks, all) => {
      const body = { status: 'not ready', missing: judged, sinks, parts: all } as const;
      assert.equal(readinessBody(body), JSON.stringify(body));
    }),
  );
});

test('a serializer that is declared after the others were compiled is compiled when it is used', () => {
  compileSerializers();
  const late = serializerOf<{ a?: number }>({ type: 'object', properties: { a: { type: 'integer' } } });
  assert.equal(late({ a: 1 }), '{"a":1}');
  assert.equal(late({}), '{}');
});

for (const [file, code] of Object.entries(generated())) {
  test(`${file} is what the compiler makes of its schema (renew with: npm run serializers)`, () => {
    assert.equal(readFileSync(file, 'utf8'), code);
  });
}

test('a schema that needs a validator cannot be compiled ahead', () => {
  const either = { $id: 'either', anyOf: [{ type: 'object' }, { type: 'string' }] };
  assert.throws(() => codeOf(either), /must need no validator: \$id=either/);
});
