/**
 * Held document: an OpenAPI document in a test. It is checked as a document (every schema is one of JSON Schema 2020-12,
 * every reference leads somewhere, names are unique), and answers of a running service are checked by it.
 */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'vitest';
import { leaveIdleConnections } from '../servers/process.ts';

export interface Media {
  readonly schema?: Record<string, unknown>;
}
export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: object }[];
  readonly requestBody?: { readonly content: Record<string, Media> };
  readonly responses: Record<
    string,
    { readonly description: string; readonly headers?: object; readonly content?: Record<string, Media> }
  >;
  readonly security?: readonly Record<string, unknown>[];
}
export interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, object>; readonly securitySchemes: Record<string, object> };
}
export interface HeldOperation extends Operation {
  readonly path: string;
  readonly method: string;
}

/** A request by its path, body and credential, and the status that it must be answered with. */
export type Asking = readonly [status: number, path: string, body?: unknown, credential?: string];
/** Sends a request to the running service. */
export type Ask = (method: string, path: string, body?: unknown, credential?: string) => Promise<Response>;

export class HeldDocument {
  readonly document: Document;
  readonly operations: readonly HeldOperation[];
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });

  readonly #sometimes: readonly string[];

  /** `sometimes`: headers that not every answer has of those that are documented with them. */
  constructor(text: string, sometimes: readonly string[] = []) {
    this.#sometimes = sometimes;
    this.document = JSON.parse(text) as Document;
    this.#ajv.addSchema({ ...this.document, $id: 'document' });
    this.operations = Object.entries(this.document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
    );
  }

  #validatorOf(schema: object) {
    const anchored = JSON.stringify(schema).replaceAll('"#/components', '"document#/components');
    return this.#ajv.compile(JSON.parse(anchored) as object);
  }

  operation(operationId: string): HeldOperation {
    const found = this.operations.find((one) => one.operationId === operationId);
    expect(found, `${operationId} must be in the document`).toBeDefined();
    return found!;
  }

  /** `mediaMin`: bodies that it describes at least, so that a document that lost its parts is noticed. */
  check(mediaMin: number): void {
    const { openapi, info, tags: allTags, components } = this.document;
    expect(openapi).toMatch(/^3\.1\.\d+$/);
    expect(info.title).not.toBe('');
    expect(info.version).toMatch(/^\d+\.\d+\.\d+/);
    const ids = this.operations.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const tags = new Set(allTags.map(({ name }) => name));
    const media: Media[] = [];
    for (const { path, parameters = [], requestBody, responses, summary, tags: own, security = [] } of this
      .operations) {
      expect(path).toMatch(/^\/[a-z0-9./{}-]*$/);
      expect(summary).not.toBe('');
      expect(
        own.every((tag) => tags.has(tag)),
        `tags of ${path}: ${own}`,
      ).toBe(true);
      for (const name of security.flatMap((one) => Object.keys(one)))
        expect(components.securitySchemes).toHaveProperty(name);
      for (const parameter of parameters) {
        if (path.includes(`{${parameter.name}}`)) expect(parameter.in).toBe('path');
        else expect(['query', 'header']).toContain(parameter.in);
        expect(this.#ajv.validateSchema(parameter.schema), JSON.stringify(this.#ajv.errors)).toBe(true);
      }
      for (const [status, { description, content }] of Object.entries(responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/);
        expect(description).not.toBe('');
        media.push(...Object.values(content ?? {}));
      }
      media.push(...Object.values(requestBody?.content ?? {}));
    }
    const placed = media.flatMap(({ schema }) => (schema === undefined ? [] : [schema]));
    for (const schema of [...Object.values<object>(components.schemas), ...placed]) {
      expect(this.#ajv.validateSchema(schema), JSON.stringify(this.#ajv.errors)).toBe(true);
      expect(() => this.#validatorOf(schema)).not.toThrow();
    }
    expect(media.length).toBeGreaterThan(mediaMin);
    // All of that is one turn of the loop: on a busy machine servers close idle connections meanwhile, unseen here.
    leaveIdleConnections();
  }

  /**
   * Sends requests for an operation, in their order: each is answered with its status, all documented headers and a
   * documented body; a header that is there sometimes is on one of the answers. `heard`: what a later request needs of
   * an answer.
   */
  async checkAnswers(
    operationId: string,
    asked: readonly Asking[],
    ask: Ask,
    heard?: (status: number, body: string) => void,
  ): Promise<void> {
    const operation = this.operation(operationId);
    const headersOf = (status: number) => Object.keys(operation.responses[status]?.headers ?? {});
    const missing = new Set(asked.flatMap(([status]) => headersOf(status).map((header) => `${status} ${header}`)));
    for (const [status, path, body, credential] of asked) {
      const what = `${operation.method} ${path}`;
      const answer = await ask(operation.method, path, body, credential);
      expect(answer.status, what).toBe(status);
      for (const header of headersOf(status)) {
        if (answer.headers.has(header)) missing.delete(`${status} ${header}`);
        else expect(this.#sometimes, what).toContain(header);
      }
      // On its own line: arguments of a call that is left out are not computed.
      const text = await this.checkAnswer(operation, answer, what);
      heard?.(status, text);
    }
    expect([...missing], `${operationId}: headers that no answer has`).toEqual([]);
  }

  /** An answer has a documented status, type and body; returns the body. `what`: for the message. */
  async checkAnswer({ responses }: Operation, answer: Response, what: string): Promise<string> {
    const documented = responses[answer.status];
    expect(documented, `${what}: ${answer.status} must be documented`).toBeDefined();
    const bytes = await answer.text();
    if (documented!.content === undefined) {
      expect(bytes).toBe('');
      return bytes;
    }
    const type = answer.headers.get('content-type')!.split(';')[0]!;
    const media = documented!.content[type];
    expect(media, `${what}: ${type} must be documented`).toBeDefined();
    // Not a file of JSON lines.
    if (!/[/+]json$/.test(type)) return bytes;
    const valid = this.#validatorOf(media!.schema!);
    expect(valid(JSON.parse(bytes)), `${what}: ${JSON.stringify(valid.errors)}`).toBe(true);
    return bytes;
  }

  /**
   * Asks every operation by who may not, each time with something else that is wrong: a parameter, a part of the path,
   * the body. A handler that begins to look who it is and then throws would end the process (http/admitted.ts). What
   * takes a body takes a chunked one (Route.takesBody).
   */
  async checkWrongAndRefused(url: string, of: (operation: HeldOperation) => boolean = () => true): Promise<void> {
    const strangers: readonly Record<string, string>[] = [
      {},
      { authorization: 'Bearer wrong' },
      { 'x-api-key': 'wrong' },
    ];
    for (const { path, method, parameters = [], requestBody } of this.operations.filter(of)) {
      const [good, bad] = ['1', '%zz'].map((part) => path.replaceAll(/\{\w+\}/g, part)) as [string, string];
      const queries = [
        'share=wrong',
        ...parameters.filter((one) => one.in === 'query').map(({ name }) => name),
      ].flatMap((name) => (name.includes('=') ? [name] : [`${name}=wrong!`, `${name}=%zz`]));
      for (const target of [good, bad, ...queries.map((query) => `${good}?${query}`)]) {
        for (const headers of strangers) {
          const body = requestBody === undefined ? {} : { body: '{"wrong":' };
          const what = `${method} ${target} ${JSON.stringify(headers)}`;
          const answer = await fetch(`${url}${target}`, {
            method,
            headers: { ...headers, 'content-type': 'application/json' },
            ...body,
          }).catch((cause: unknown) => {
            throw new Error(`no answer to ${what}`, { cause });
          });
          await answer.arrayBuffer();
          expect(answer.status, what).toBeLessThan(500);
        }
      }
      if (requestBody === undefined) continue;
      const body = new Blob(['{"wrong":']).stream();
      const chunked = await fetch(`${url}${good}`, { method, body, duplex: 'half' } as RequestInit);
      expect(await chunked.text(), `${method} ${good}`).not.toContain('must not have a chunked body');
    }
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  }

  /** The methods of each path are those of the document. `ask`: sends a request without a body. */
  async checkMethods(
    ask: (method: string, path: string) => Promise<Response>,
    paths: readonly string[],
  ): Promise<void> {
    for (const path of paths) {
      const documented = Object.keys(this.document.paths[path]!).map((method) => method.toUpperCase());
      const method = ['DELETE', 'PUT', 'PATCH'].find((one) => !documented.includes(one))!;
      const answer = await ask(method, path);
      expect(answer.status, path).toBe(405);
      const allowed = answer.headers.get('allow')!.split(', ');
      expect(allowed.filter((one) => one !== 'OPTIONS').sort(), path).toEqual(documented.sort());
    }
  }
}
