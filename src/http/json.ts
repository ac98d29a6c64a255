/**
 * JSON: serializers for the bodies that routes answer with. Each body has one schema, in the `schemas.ts` of its room;
 * the serializer is compiled from it once per thread, when the module is loaded, and an API description can be made
 * from the same schema.
 *
 * The library takes about 40 ms to load, so it is loaded with the acceptor, before its port opens, and never on a
 * request.
 */
import fastJson from 'fast-json-stringify';

/** A JSON Schema, written `as const`. */
export type BodySchema = Readonly<Record<string, unknown>>;

/** Compiles the serializer of one body. Members whose value is undefined are left out. */
export function serializerOf<T>(schema: BodySchema): (value: T) => string {
  return fastJson(schema) as (value: T) => string;
}
