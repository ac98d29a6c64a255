/**
 * Compiles the schemas of the house's own bodies ahead: `npm run serializers`, after a schema or the library has
 * changed. test/http/json.test.ts fails when the files are stale.
 */
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { eventsAcceptedSchema } from '../src/analytics/intake/schemas.ts';
import { acceptedSchema } from '../src/collect/schemas.ts';
import { type BodySchema, codeOf } from '../src/http/json.ts';
import { problemSchema } from '../src/http/problem.ts';
import { readinessSchema } from '../src/service/schemas.ts';

interface Body {
  /** The file of the schema, without its ending. */
  readonly source: string;
  readonly schema: BodySchema;
  /** Name of the serializer. */
  readonly name: string;
  /** What it takes, and where that is declared. */
  readonly type: string;
  readonly from: string;
  readonly json: string;
}

const bodies: readonly Body[] = [
  {
    source: 'src/http/problem',
    schema: problemSchema,
    name: 'problemBody',
    type: 'Problem',
    from: '../kernel/errors.ts',
    json: './json.ts',
  },
  {
    source: 'src/collect/schemas',
    schema: acceptedSchema,
    name: 'serializeAccepted',
    type: 'Accepted',
    from: './schemas.ts',
    json: '../http/json.ts',
  },
  {
    source: 'src/analytics/intake/schemas',
    schema: eventsAcceptedSchema,
    name: 'serializeEventsAccepted',
    type: 'EventsAccepted',
    from: './schemas.ts',
    json: '../../http/json.ts',
  },
  {
    source: 'src/service/schemas',
    schema: readinessSchema,
    name: 'readinessBody',
    type: 'Readiness',
    from: './schemas.ts',
    json: '../http/json.ts',
  },
];

function textOf({ source, schema, name, type, from, json }: Body): string {
  return `// Written by \`npm run serializers\` from ${basename(source)}.ts; changes belong there.
// @ts-nocheck: the library writes JavaScript.
import type { ${type} } from '${from}';
import { compiledAhead } from '${json}';

export const ${name}: (value: ${type}) => string = compiledAhead(${codeOf(schema)});
`;
}

/** What the files should hold. */
export function generated(): Readonly<Record<string, string>> {
  return Object.fromEntries(bodies.map((body) => [`${body.source}.generated.ts`, textOf(body)]));
}

if (import.meta.main ?? process.argv[1] === import.meta.filename)
  for (const [file, text] of Object.entries(generated())) writeFileSync(file, text);
