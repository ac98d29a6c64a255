/** Operations of an OpenAPI document, as routes are made of them. */
import type { HttpRequest } from 'uWebSockets.js';
import type { Method } from '../../http/handlers.ts';
import type { Described, Operation } from './validation.ts';

export interface DescribedOperation {
  readonly operation: Operation;
  readonly method: Method;
  /** As the router has it: /users/:id. */
  readonly path: string;
  /** The parameters of the path, in their order. */
  readonly inPath: readonly string[];
}

/** Every operation of the document. */
export const operationsIn = ({ paths }: Described): readonly DescribedOperation[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      operation: operation as Operation,
      method: method.toUpperCase() as Method,
      path: path.replaceAll(/\{(\w+)\}/g, ':$1'),
      inPath: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!),
    })),
  );

/** What a request gives for the parameters of its path and its query. `query`: without the question mark. */
export const givenParameters = (
  { inPath }: Pick<DescribedOperation, 'inPath'>,
  req: Pick<HttpRequest, 'getParameter'>,
  query: string,
): readonly (readonly [string, string])[] => [
  ...inPath.map((name, i) => [name, req.getParameter(i) ?? ''] as const),
  ...(query === '' ? [] : new URLSearchParams(query)),
];
