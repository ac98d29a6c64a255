/** Reference: the routes of a service as a table for its README, and as a collection for Postman, of its document. */
import { openApi } from '../../src/gateway/admin/openapi/document.ts';
import { markdownTable } from '../../src/kernel/markdown.ts';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly description: string;
  readonly required: boolean;
  readonly schema: { readonly default?: unknown };
}
interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly security?: readonly Readonly<Record<string, unknown>>[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly format?: string;
}
interface Listed extends Operation {
  readonly path: string;
  readonly method: string;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const operationsOf = ({ paths }: Document): readonly Listed[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== 'head')
      .map(([method, operation]) => ({ ...(operation as Operation), path, method: method.toUpperCase() })),
  );

const credentials: Readonly<Record<string, string>> = {
  apiKey: 'key',
  operatorToken: 'operator',
  signedUrl: 'signed URL',
  adminKey: 'administrator',
};
const whoMay = ({ security = [] }: Operation): string =>
  [...new Set(security.flatMap((one) => Object.keys(one)).map((name) => credentials[name]))]
    .filter((name) => name !== undefined)
    .join(', ') || 'everybody';

function taken({ parameters = [], requestBody }: Operation): string {
  const query = parameters.filter((one) => one.in === 'query').map(({ name }) => name);
  const media = Object.entries(requestBody?.content ?? {});
  const json = media.find(([type]) => type === 'application/json')?.[1].schema.$ref;
  const body = media.length === 0 ? [] : [json === undefined ? 'the picture' : `\`${json.split('/').at(-1)}\``];
  return [...(query.length === 0 ? [] : [`?${query.join(', ')}`]), ...body].join('; ');
}

export function routesReference(document: Document): string {
  const rows = operationsOf(document).map((one) => {
    const route = `\`${one.method} ${one.path === '/{path}' ? '/*' : one.path}\``;
    const statuses = Object.keys(one.responses).filter((status) => status < '400');
    return [route, whoMay(one), taken(one), statuses.join(', '), one.summary];
  });
  return markdownTable(['Route', 'Who', 'Takes', 'Answers', 'What it does'], rows);
}

/** Something of the schema, for people to write over. */
function example(schema: Schema): unknown {
  if (schema.$ref !== undefined) return example(openApi.components.schemas[schema.$ref.split('/').at(-1)!] as Schema);
  if (schema.properties !== undefined)
    return Object.fromEntries(Object.entries(schema.properties).map(([name, one]) => [name, example(one)]));
  if (schema.enum !== undefined) return schema.enum[0];
  const types = [schema.type].flat();
  // What may be null is a limit that is not there.
  if (types.includes('null')) return null;
  if (types[0] === 'array') return schema.items?.enum === undefined ? [] : [schema.items.enum[0]];
  if (types[0] === 'integer') return 1;
  return types[0] === 'boolean' ? true : '';
}

const credentialOf = (operation: Operation): object => {
  const who = whoMay(operation);
  if (who === 'everybody') return { type: 'noauth' };
  if (who.startsWith('administrator'))
    return { type: 'bearer', bearer: [{ key: 'token', value: '{{adminKey}}', type: 'string' }] };
  return {
    type: 'apikey',
    apikey: ['key X-API-Key', 'value {{apiKey}}', 'in header'].map((pair) => {
      const [key, value] = pair.split(' ');
      return { key, value, type: 'string' };
    }),
  };
};

function bodyOf({ requestBody }: Operation): object {
  if (requestBody === undefined) return {};
  const json = requestBody.content['application/json'];
  if (json === undefined) return { body: { mode: 'file', file: { src: 'picture.jpg' } } };
  return {
    header: [{ key: 'Content-Type', value: 'application/json' }],
    body: { mode: 'raw', raw: JSON.stringify(example(json.schema), null, 2), options: { raw: { language: 'json' } } },
  };
}

function itemOf(operation: Listed): object {
  const { path, method, operationId, summary, parameters = [] } = operation;
  const whole = path === '/{path}' ? '/rs:fit:300:200/plain/local:///ab/cd.jpg@webp' : path;
  const segments = whole
    .slice(1)
    .split('/')
    .map((part) => part.replace(/^\{(\w+)\}$/, ':$1'));
  const inPlace = (place: string) => parameters.filter((one) => one.in === place && path !== '/{path}');
  const query = inPlace('query').map(({ name, description, required, schema }) => ({
    key: name,
    value: schema.default === undefined ? '' : String(schema.default),
    description,
    disabled: !required,
  }));
  return {
    name: operationId,
    request: {
      method,
      description: summary,
      auth: credentialOf(operation),
      header: [],
      ...bodyOf(operation),
      url: {
        raw: `{{baseUrl}}/${segments.join('/')}`,
        host: ['{{baseUrl}}'],
        path: segments,
        ...(query.length === 0 ? {} : { query }),
        ...(inPlace('path').length === 0
          ? {}
          : { variable: inPlace('path').map(({ name, description }) => ({ key: name, value: '1', description })) }),
      },
    },
    response: [],
  };
}

/** The collection of the gateway: Postman Collection Format 2.1. */
export function postmanCollection(): string {
  const variable = (key: string, value: string) => ({ key, value, type: 'string' });
  const collection = {
    info: {
      name: openApi.info.title,
      description: `${openApi.info.summary} Written by \`npm run docs\` from the OpenAPI document (GET /openapi.json).`,
      schema: 'https://schema.getpostman.com/json/collection/v2.1.0/collection.json',
    },
    variable: [variable('baseUrl', 'http://localhost:8080'), variable('apiKey', ''), variable('adminKey', '')],
    item: openApi.tags.map(({ name }) => ({
      name,
      item: operationsOf(openApi)
        .filter(({ tags }) => tags[0] === name)
        .map(itemOf),
    })),
  };
  return `${JSON.stringify(collection, null, 2)}\n`;
}
