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
  return compiler(schema);
}

/** The serializer of one body. Members whose value is undefined are left out. */
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
