/**
 * Parts that the paths of an OpenAPI document are put together from: schemas by name, answers, refusals, parameters,
 * and the routes that every service has.
 */
import type { BodySchema } from '../../http/json.ts';
import { readVersion } from '../../kernel/version.ts';

export type Json = Readonly<Record<string, unknown>>;

/** What a document begins with. */
export const documentHead = (title: string, summary: string) => ({
  openapi: '3.1.0',
  info: {
    title,
    version: readVersion().version,
    summary,
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  jsonSchemaDialect: 'https://spec.openapis.org/oas/3.1/dialect/base',
  servers: [{ url: '/' }],
});

/** A security scheme: Authorization: Bearer. */
export const bearer = (description: string): Json => ({ type: 'http', scheme: 'bearer', description });

/** Schemas by name: how they stand in the document, and how it refers to them. */
export function namedSchemas<const N extends Readonly<Record<string, BodySchema>>>(named: N) {
  const names = new Map<unknown, string>(Object.entries(named).map(([name, schema]) => [schema, name]));
  const refTo = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
  const within = (value: unknown): unknown => {
    const name = names.get(value);
    if (name !== undefined) return refTo(name);
    if (Array.isArray(value)) return value.map(within);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, within(inner)]));
  };
  /** Without `$id`, and with a reference for each named schema inside of it. */
  const placed = (schema: BodySchema): Json =>
    Object.fromEntries(
      Object.entries(schema)
        .filter(([key]) => key !== '$id')
        .map(([key, value]) => [key, within(value)]),
    );
  const ref = (name: keyof N & string): Json => refTo(name);
  const json = (name: keyof N & string): Json => content('application/json', ref(name));
  return {
    ref,
    json,
    takes: (name: keyof N & string): Json => ({ requestBody: { required: true, content: json(name) } }),
    /** `components.schemas` */
    schemas: Object.fromEntries(Object.entries(named).map(([name, schema]) => [name, placed(schema)])),
  };
}

export const content = (type: string, schema: Json): Json => ({ [type]: { schema } });
export const plain = content('text/plain', { type: 'string' });

/** `headers`: by name, where the answer has some. */
export const answer = (description: string, body?: Json, headers?: Json): Json & { readonly description: string } => ({
  description,
  ...(headers === undefined ? {} : { headers }),
  ...(body === undefined ? {} : { content: body }),
});

/** Answers with a problem, by status. `headers`: those of the answer of this status. */
export const refusalsOf =
  <S extends number>(
    descriptions: Readonly<Record<S, string>>,
    problem: Json,
    headers: (status: S) => Json | undefined = () => undefined,
  ) =>
  (...statuses: readonly S[]): Json =>
    Object.fromEntries(
      statuses.map((status) => [
        status,
        answer(descriptions[status], content('application/problem+json', problem), headers(status)),
      ]),
    );

export const retryAfter: Json = {
  description: 'Seconds after which to try again.',
  schema: { type: 'integer', minimum: 0 },
};

const parameter = (place: string, name: string, description: string, schema: Json, required: boolean): Json => ({
  name,
  in: place,
  required,
  description,
  schema,
});
export const inQuery = (name: string, description: string, schema: Json, required = false): Json =>
  parameter('query', name, description, schema, required);
export const inPath = (name: string, description: string, schema: Json): Json =>
  parameter('path', name, description, schema, true);
export const inHeader = (name: string, description: string, schema: Json): Json =>
  parameter('header', name, description, schema, false);

const operation = (operationId: string, summary: string, responses: Json): Json => ({
  operationId,
  tags: ['operations'],
  summary,
  responses,
});

/** GET and HEAD of a route. */
export function ops(
  name: string,
  summary: string,
  responses: Readonly<Record<string, { readonly description: string }>>,
): Json {
  const headless = Object.fromEntries(
    Object.entries(responses).map(([status, { description }]) => [status, answer(description)]),
  );
  return { get: operation(name, summary, responses), head: operation(`${name}Head`, summary, headless) };
}

/** One route under two paths. */
const both = (
  path: string,
  other: string,
  name: string,
  summary: string,
  responses: Parameters<typeof ops>[2],
): Json => ({
  [path]: ops(name, summary, responses),
  [other]: ops(`${name}Too`, `${summary} The same as ${path}.`, responses),
});

/**
 * The routes that every service has, and the one of its document. `readiness`: the body of /readyz. `headers`: those of
 * the answer with the document.
 */
export const operationPaths = (readiness: Json, headers?: Json): Json => ({
  '/openapi.json': {
    get: operation('getOpenApi', 'This document.', {
      200: answer('An OpenAPI document.', content('application/json', { type: 'object' }), headers),
    }),
  },
  ...both('/healthz', '/health', 'health', 'Whether this process answers.', { 200: answer('It does.', plain) }),
  ...both('/readyz', '/ready', 'readiness', 'Whether this process serves, and what is missing.', {
    200: answer('Everything is up.', readiness),
    503: answer('Something is missing.', readiness),
  }),
  '/metrics': ops('metrics', 'Figures for Prometheus.', { 200: answer('The text format of Prometheus.', plain) }),
});
