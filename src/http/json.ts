/**
 * JSON: serializers for the bodies that routes answer with. Each body has one schema, in the `schemas.ts` of its room;
 * the serializer is compiled from it, and an API description can be made from the same schema.
 *
 * The compiler takes about 40 ms to load. Only acceptors need it, so it is loaded when routes are mounted: after main
 * has done without it, and before a port opens.
 */
import { createRequire } from 'node:module';

/** A JSON Schema, written `as const`. */
export type BodySchema = Readonly<Record<string, unknown>>;

const require = createRequire(import.meta.url);

type Serializer = (value: unknown) => string;
type Compiler = (schema: BodySchema) => Serializer;

/** Compiles of serializers that nobody has needed yet. */
const pending: (() => void)[] = [];
let compiler: Compiler | undefined;

function compile(schema: BodySchema): Serializer {
  compiler ??= require('fast-json-stringify') as Compiler;
  return compiler(inOrder(schema) as BodySchema);
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
  let serializer: Serializer | undefined;
  pending.push(() => {
    serializer ??= compile(schema);
  });
  return (value) => {
    serializer ??= compile(schema);
    return serializer(value);
  };
}

/** Compiles every serializer that has been declared, so that no request waits for it. */
export function compileSerializers(): void {
  for (const run of pending.splice(0)) run();
}
