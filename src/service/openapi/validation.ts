/**
 * Validation: what a request must be by the OpenAPI document of its service. The checks of an operation are compiled
 * when its route is opened, by one compiler in each acceptor. A refusal is one line: the member, what must hold, and
 * what was found.
 */
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { serviceErrors } from '../errors.ts';

const DOCUMENT = 'document';
const FOUND_MAX = 80;

interface Parameter {
  readonly name: string;
  readonly required: boolean;
  readonly schema: object;
}
export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
}

/** What of a document is read here. */
export interface Described {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

export interface Checks {
  /** Those of the path and of the query, as numbers where the document says so. Throws INPUT_REFUSED. */
  parameters(given: Iterable<readonly [string, string]>): Readonly<Record<string, unknown>>;
  /** Throws INPUT_REFUSED. */
  body(given: unknown): unknown;
}

class Validation {
  readonly #operations: ReadonlyMap<string, Operation>;
  // One finding is enough for an answer, and bounds the work that a hostile body costs.
  readonly #bodies = new Ajv2020({ strict: false, allErrors: false, verbose: true });
  /** What stands in a URL is text. */
  readonly #parameters = new Ajv2020({ strict: false, allErrors: false, verbose: true, coerceTypes: true });

  constructor({ paths, components }: Described) {
    for (const ajv of [this.#bodies, this.#parameters]) formats.default(ajv, ['date-time', 'uuid']);
    this.#bodies.addSchema({ $id: DOCUMENT, components });
    this.#operations = new Map(
      Object.values(paths)
        .flatMap((methods) => Object.values(methods) as readonly Operation[])
        .map((operation) => [operation.operationId, operation]),
    );
  }

  of(operationId: string): Checks {
    const operation = this.#operations.get(operationId);
    if (operation === undefined) throw new TypeError(`the document must have the operation: found=${operationId}`);
    const { parameters = [], requestBody } = operation;
    const schema = requestBody?.content['application/json']?.schema;
    const body = schema === undefined ? undefined : this.#bodies.compile(anchored(schema));
    const named = this.#parameters.compile({
      type: 'object',
      properties: Object.fromEntries(parameters.map((one) => [one.name, one.schema])),
      required: parameters.filter(({ required }) => required).map(({ name }) => name),
      additionalProperties: false,
    });
    return {
      parameters: (given) => {
        const values: Record<string, unknown> = Object.create(null);
        for (const [name, value] of given) {
          if (name in values) throw serviceErrors.INPUT_REFUSED({ reason: `${short(name)} must be given once` });
          values[name] = value;
        }
        check(named, values, 'the query');
        return values;
      },
      body: (given) => {
        if (body !== undefined) check(body, given, 'the body');
        return given;
      },
    };
  }
}

/** One for each document, in each thread. */
const validations = new WeakMap<Described, Validation>();

/** The checks of an operation, by its name in the document. Call when routes are opened: it compiles them. */
export function checksOf(document: Described, operationId: string): Checks {
  let validation = validations.get(document);
  if (validation === undefined) {
    validation = new Validation(document);
    validations.set(document, validation);
  }
  return validation.of(operationId);
}

/** References of the document, from outside of it. */
function anchored(schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components', `"${DOCUMENT}#/components`)) as object;
}

function check(valid: ValidateFunction, value: unknown, whole: string): void {
  if (valid(value)) return;
  throw serviceErrors.INPUT_REFUSED({ reason: reasonOf(valid.errors![0]!, whole) });
}

function short(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length <= FOUND_MAX ? text : `${text.slice(0, FOUND_MAX)}...`;
}

const article = (type: string): string =>
  ({ integer: 'a whole number', object: 'an object', array: 'a list', null: 'null' })[type] ?? `a ${type}`;

/** What must hold, by the keyword of the rule. */
const rules: Readonly<Record<string, (rule: unknown) => string>> = {
  type: (types) =>
    `be ${[types]
      .flat()
      .map((one) => article(String(one)))
      .join(' or ')}`,
  enum: (values) => `be one of ${(values as readonly unknown[]).join(', ')}`,
  minimum: (least) => `be at least ${String(least)}`,
  maximum: (most) => `be at most ${String(most)}`,
  minLength: (least) => `have at least ${String(least)} characters`,
  maxLength: (most) => `have at most ${String(most)} characters`,
  pattern: (pattern) => `match ${String(pattern)}`,
  format: (format) => (format === 'date-time' ? 'be a time like 2027-01-31T00:00:00Z' : `be a ${String(format)}`),
  minItems: (least) => `have at least ${String(least)} entries`,
  maxItems: (most) => `have at most ${String(most)} entries`,
  uniqueItems: () => 'have each entry once',
  minProperties: (least) => `have at least ${String(least)} member`,
  maxProperties: (most) => `have at most ${String(most)} member`,
};

function reasonOf({ keyword, instancePath, params, schema, data, parentSchema }: ErrorObject, whole: string): string {
  const at = instancePath === '' ? whole : short(instancePath.slice(1).replaceAll('/', '.'));
  const within = (name: unknown): string => (instancePath === '' ? short(name) : `${at}.${short(name)}`);
  if (keyword === 'required') return `${within(params['missingProperty'])} must be given`;
  if (keyword === 'additionalProperties') {
    const { properties = {} } = parentSchema as { readonly properties?: object };
    const known = Object.keys(properties);
    const must = known.length === 0 ? 'there must be nothing' : `a member must be one of ${known.join(', ')}`;
    return `${must} in ${at}: found=${within(params['additionalProperty'])}`;
  }
  const rule = rules[keyword]?.(schema) ?? `hold ${keyword}`;
  return `${at} must ${rule}: found=${short(data)}`;
}
