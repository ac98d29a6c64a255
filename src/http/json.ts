/**
 * JSON: serializers for the bodies that routes answer with. Each body has one schema, in the `schemas.ts` of its room;
 * the serializer is compiled from it, and an API description can be made from the same schema.
 *
 * The compiler (fast-json-stringify with ajv) takes 16 MiB and 40-60 ms in each thread that loads it. So there are two
 * ways to a serializer:
 *
 *   ahead      the house's own bodies: `npm run serializers` writes the compiled code of X.ts to X.generated.ts, which
 *              is committed. It needs the library's runtime alone. A test compiles anew and compares.
 *   on demand  serializerOf(schema): the compiler is loaded when routes are mounted, if a service has declared any.
 */
import { createRequire } from 'node:module';

/** A JSON Schema, written `as const`. */
export type BodySchema = Readonly<Record<string, unknown>>;

const require = createRequire(import.meta.url);

type Serialize = (value: unknown) => string;
interface Compiler {
  (schema: BodySchema): Serialize;
  (schema: BodySchema, options: { readonly mode: 'standalone' }): string;
}
/** The runtime of the library: how strings, numbers and dates are written. */
interface Runtime {
  readonly asInteger: (value: unknown) => string;
}
const Runtime = require('fast-json-stringify/lib/serializer.js') as new (options: object) => Runtime;
const runtime = new Runtime({});

/** Compiles of serializers that nobody has needed yet. */
const pending: (() => void)[] = [];
let compiler: Compiler | undefined;

function loadCompiler(): Compiler {
  compiler ??= require('fast-json-stringify') as Compiler;
  return compiler;
}

/**
 * The schema without `required`: the compiler would write required members first, whatever their order in the schema.
 */
function inOrder(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(inOrder);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(([key, value]) => key !== 'required' || !Array.isArray(value));
  return Object.fromEntries(entries.map(([key, value]) => [key, inOrder(value)]));
}

/** The serializer of one body: members in the order of the schema, without those whose value is undefined. */
export function serializerOf<T>(schema: BodySchema): (value: T) => string {
  let serialize: Serialize | undefined;
  const compiled = (): Serialize => {
    serialize ??= loadCompiler()(inOrder(schema) as BodySchema);
    return serialize;
  };
  pending.push(compiled);
  return (value) => compiled()(value);
}

/** Compiles every serializer that has been declared, so that no request waits for it. */
export function compileSerializers(): void {
  for (const run of pending.splice(0)) run();
}

/** The serializer of one body whose code was compiled ahead. */
export function compiledAhead<T>(code: (validator: null, serializer: Runtime) => unknown): (value: T) => string {
  return code(null, runtime) as Serialize;
}

/** For the generator: the expression that compiledAhead takes. Throws for a schema that needs a validator. */
export function codeOf(schema: BodySchema): string {
  const code = loadCompiler()(inOrder(schema) as BodySchema, { mode: 'standalone' });
  const [, factory] = /const validator = null\n\s*module\.exports = (.*)\(validator, serializer\)$/s.exec(code) ?? [];
  if (factory === undefined) throw new TypeError(`a body's schema must need no validator: $id=${schema['$id']}`);
  return factory;
}
