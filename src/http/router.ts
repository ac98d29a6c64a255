/**
 * Router: puts a table of routes on an app of the addon. A service only names paths, methods and handlers; the router
 * adds what every path needs:
 *
 *   framing   400 and close for a request whose body is framed ambiguously, on every path (guards.ts)
 *   methods   405 with Allow for a method that the path does not declare; OPTIONS: the preflight of CORS, else 204 with
 *             Allow
 *   404       for every other path
 *   count     each answer under the route's name and class of status: by the router for its own, by the handler's
 *             `at.tally` for the others
 *   span      around the handler, when requests are traced
 *   faults    an exception, or a rejected promise, costs one 500 and one line in the log
 *
 * Paths are the addon's: `/users/:id` has a parameter, `/files/*` takes every path below, `/*` every path at all. Where
 * several match, the more exact path wins for all methods: GET /collect is 405 although a front end is mounted on `/*`.
 * HEAD is served only where a route declares it.
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { answerProblem, endBare, shown, type Wire } from './answer.ts';
import type { Cors } from './cors.ts';
import { httpErrors } from './errors.ts';
import type { Fairness } from './fairness.ts';
import { answerUnread, type Framing, framingOf, hasFraming, refuseFraming, unframed } from './guards.ts';
import { answerFault, type Faults, type Handler, type Method, type MountedRoute } from './handlers.ts';
import type { OnClose } from './hold-back.ts';
import { compileSerializers } from './json.ts';
import { asksToClose, type BodyRest } from './lingering.ts';
import { SingleRequest } from './single-request.ts';
import type { Tally } from './tally.ts';

export type { Handler, Method, MountedRoute } from './handlers.ts';

export interface Route {
  /** Metric label and span name, from the closed list of the role. */
  readonly name: string;
  readonly path: string;
  readonly on: Partial<Readonly<Record<Method, Handler>>>;
  /** Which pages may send, by the rule of this route (cors.ts); makes OPTIONS a preflight. */
  readonly cors?: Cors;
  /**
   * The handlers of POST, PUT, PATCH, DELETE read the body. A chunked body is refused everywhere else, for nobody would
   * find its end.
   */
  readonly takesBody?: true;
  /** Its answers may be written piece by piece (Reply.stream). */
  readonly streams?: true;
  /** No span: probes and files are not worth one. */
  readonly untraced?: true;
  /**
   * GET and HEAD of a route that takes most of the load and opens to everybody: of the headers that frame a body only
   * the first of each name is looked at, because reading all headers of a browser's request costs a microsecond
   * (guards.ts).
   */
  readonly hot?: true;
  /** A request was refused for its framing, before the handler. */
  onBadFraming?(): void;
  /**
   * Headers that every answer of the service has: for those that the router gives for this path by itself (400, 405,
   * preflights). Routes of one path share it.
   */
  readonly marks?: Marks;
}

/** Names and values by the request. Called inside the handler. */
export type Marks = (req: HttpRequest) => readonly (readonly [name: string, value: string])[];
type Marked = ReturnType<Marks>;
const unmarked: Marks = () => [];

export interface RouterDeps {
  /** The tally of a route by its name. Throws for a name that is not in the role's list. */
  readonly tally: (name: string) => Tally;
  readonly wire: Wire;
  readonly faults: Faults;
  /** Puts a span around a handler. Undefined: no request is traced. */
  readonly traced: ((method: Method, path: string, handler: Handler) => Handler) | undefined;
  /** Keeps one connection from taking the acceptor. Undefined: nobody else is served, as in a rehearsal. */
  readonly fairness?: Fairness;
  /**
   * PROXY protocol: a connection carries one request, and what stands behind it closes the connection. The addon takes
   * a header of the protocol in front of every request, and a client may write one, too; only the first is the proxy's.
   * The addon does not tell the first request of a connection from a later one. `wire.closing` must be true.
   */
  readonly single?: OnClose;
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const satisfies readonly Method[];
const mounters = {
  GET: 'get',
  HEAD: 'head',
  POST: 'post',
  PUT: 'put',
  PATCH: 'patch',
  DELETE: 'del',
} as const satisfies Record<Method, keyof TemplatedApp>;
const bodiless: ReadonlySet<Method> = new Set(['GET', 'HEAD']);

/** Everything that is declared for one path. */
interface PathTable {
  readonly path: string;
  readonly on: Map<Method, Route>;
  cors: Cors | undefined;
  marks: Marks;
}

/**
 * Mounts the routes, and answers for everything else. Throws a TypeError, before it mounts anything, when the table
 * contradicts itself.
 */
export function mountRoutes(app: TemplatedApp, routes: readonly Route[], deps: RouterDeps): void {
  const tables = tablesOf(routes);
  compileSerializers();
  const rest = new Rest(deps);
  const { fairness } = deps;
  const single = deps.single === undefined ? undefined : new SingleRequest(deps.single);
  const streaming = new Set(tables.filter(({ on }) => [...on.values()].some(({ streams }) => streams)));
  const guard = (path: string, handler: AddonHandler, last = false, streams = false): AddonHandler =>
    single?.guard(path, handler, streams, last) ?? fairness?.guard(path, handler, last) ?? handler;
  let everywhere: AddonHandler = (res, req) => rest.notFound(res, req);
  for (const table of tables) {
    const { path, on, cors, marks } = table;
    const declared = methods.filter((method) => on.has(method));
    for (const method of declared)
      app[mounters[method]](
        path,
        guard(path, methodHandler(on.get(method)!, method, deps), false, streaming.has(table)),
      );
    const allow = [...declared, ...(cors === undefined ? [] : ['OPTIONS'])].join(', ');
    const refuse = (res: HttpResponse, req: HttpRequest) => rest.refuseMethod(res, req, allow, marks);
    const options: AddonHandler =
      cors === undefined
        ? (res, req) => rest.options(res, req, allow, marks)
        : (res, req) => rest.preflight(res, req, cors, declared.join(', '), marks);
    app.options(path, guard(path, options));
    // The addon looks for the method first: without these a pattern that takes the method would take it for this path,
    // too.
    for (const method of methods)
      if (!on.has(method) && takenByPattern(tables, method)) app[mounters[method]](path, guard(path, refuse));
    app.any(path, guard(path, refuse));
    if (path === '/*') everywhere = refuse;
  }
  if (!tables.some(({ path }) => path === '/*')) app.any('/*', guard('/*', everywhere));
  // Another pattern for every path: where the guard has a request routed twice, one that only `/*` takes gets here.
  if (fairness !== undefined || single !== undefined) app.any('/**', guard('/**', everywhere, true));
}

function takenByPattern(tables: readonly PathTable[], method: Method): boolean {
  return tables.some(({ path, on }) => /[:*]/.test(path) && on.has(method));
}

/** The routes by path. Paths that differ in the names of their parameters alone are one path. */
function tablesOf(routes: readonly Route[]): readonly PathTable[] {
  const tables = new Map<string, PathTable>();
  for (const route of routes) {
    const { path, on, cors, name, marks } = route;
    if (!/^(\/|(\/(:[A-Za-z_]\w*|[^/:*?#\s]+))*(\/\*?)?)$/.test(path) || path === '')
      throw new TypeError(`a path must be like /a, /a/:name or /a/*: route=${name}, path=${path}`);
    const shape = path.replace(/:\w+/g, ':');
    const table = tables.get(shape) ?? { path, on: new Map<Method, Route>(), cors, marks: unmarked };
    tables.set(shape, table);
    if (cors !== undefined && table.cors !== undefined && cors !== table.cors)
      throw new TypeError(`routes of one path must share their cors: path=${path}`);
    table.cors ??= cors;
    if (marks !== undefined) table.marks = marks;
    const given = methods.filter((method) => on[method] !== undefined);
    if (given.length === 0) throw new TypeError(`a route must have a method: route=${name}, path=${path}`);
    for (const method of given) {
      const other = table.on.get(method);
      if (other !== undefined)
        throw new TypeError(
          `a path has one handler per method: ${method} ${path} is declared by ${other.name} (${other.path}) ` +
            `and ${name}`,
        );
      table.on.set(method, route);
    }
  }
  return [...tables.values()];
}

function methodHandler(route: Route, method: Method, deps: RouterDeps): AddonHandler {
  const { wire, faults } = deps;
  const at: MountedRoute = {
    name: route.name,
    path: route.path,
    method,
    head: method === 'HEAD',
    cors: route.cors,
    tally: deps.tally(route.name),
    wire,
    faults,
    framing: unframed,
  };
  const own = route.on[method]!;
  const handler = deps.traced === undefined || route.untraced ? own : deps.traced(method, route.path, own);
  const takesBody = route.takesBody === true && !bodiless.has(method);
  return takesBody ? withBody(route, handler, at) : withoutBody(route, handler, at);
}

type AddonHandler = (res: HttpResponse, req: HttpRequest) => void;

function withBody(route: Route, handler: Handler, at: MountedRoute): AddonHandler {
  return (res, req) => {
    try {
      const framing = framingOf(req);
      if (framing.bad !== undefined) {
        refuse(res, req, route, at, framing);
        return;
      }
      at.framing = framing;
      settle(handler(res, req, at), res, at);
    } catch (error) {
      fault(res, at, error);
    }
  };
}

function withoutBody(route: Route, handler: Handler, at: MountedRoute): AddonHandler {
  const seldom = bodiless.has(at.method) && route.hot === true;
  return (res, req) => {
    try {
      const framing = seldom && !hasFraming(req) ? unframed : framingOf(req);
      if (framing.bad !== undefined || framing.chunked) {
        refuse(res, req, route, at, framing);
        return;
      }
      // The addon skips a body that has a length.
      at.framing = framing;
      settle(handler(res, req, at), res, at);
    } catch (error) {
      fault(res, at, error);
    }
  };
}

/** For its framing, or because it is chunked where nobody reads a body. */
function refuse(res: HttpResponse, req: HttpRequest, route: Route, at: MountedRoute, framing: Framing): void {
  route.onBadFraming?.();
  at.tally.answered(400);
  const marked = route.marks?.(req) ?? [];
  const options = { head: at.head, headers: () => write(res, marked) };
  if (framing.bad !== undefined) {
    refuseFraming(res, framing.bad, options);
    return;
  }
  const reason = `a ${at.method} must not have a chunked body`;
  answerUnread(res, framing, true, (close, rest) =>
    answerProblem(res, httpErrors.BAD_REQUEST, { reason }, { ...options, close, rest }),
  );
}

/**
 * A handler may be an async function by mistake or by way of `later` (reply.ts): its rejection must not end the
 * process.
 */
function settle(result: unknown, res: HttpResponse, at: MountedRoute): void {
  if (result instanceof Promise) result.catch((error: unknown) => fault(res, at, error));
}

function fault(res: HttpResponse, at: MountedRoute, error: unknown): void {
  at.faults.report(error);
  if (answerFault(res, at.head)) at.tally.answered(500);
}

function write(res: HttpResponse, marked: Marked): void {
  for (const [name, value] of marked) res.writeHeader(name, value);
}

/** Answers what no handler answers. */
class Rest {
  readonly #deps: RouterDeps;
  readonly #preflights: Tally;
  readonly #others: Tally;

  constructor(deps: RouterDeps) {
    this.#deps = deps;
    this.#preflights = deps.tally('preflight');
    this.#others = deps.tally('other');
  }

  notFound(res: HttpResponse, req: HttpRequest): void {
    const path = shown(req.getUrl());
    const head = req.getMethod() === 'head';
    this.#answer(res, req, this.#others, 404, unmarked, (close, _marked, rest) =>
      answerProblem(res, httpErrors.NOT_FOUND, { path }, { head, close, rest }),
    );
  }

  refuseMethod(res: HttpResponse, req: HttpRequest, allow: string, marks: Marks): void {
    const method = shown(req.getCaseSensitiveMethod());
    const head = req.getMethod() === 'head';
    this.#answer(res, req, this.#others, 405, marks, (close, marked, rest) => {
      const headers = () => {
        write(res, marked);
        res.writeHeader('Allow', allow);
      };
      answerProblem(res, httpErrors.METHOD_NOT_ALLOWED, { method, allow }, { headers, head, close, rest });
    });
  }

  options(res: HttpResponse, req: HttpRequest, allow: string, marks: Marks): void {
    this.#answer(res, req, this.#preflights, 204, marks, (close, marked) => {
      res.writeStatus('204 No Content');
      write(res, marked);
      res.writeHeader('Allow', allow);
      endBare(res, undefined, close);
    });
  }

  preflight(res: HttpResponse, req: HttpRequest, cors: Cors, declared: string, marks: Marks): void {
    const origin = req.getHeader('origin');
    const verdict = cors.judge(origin);
    const asked = {
      headers: req.getHeader('access-control-request-headers'),
      privateNetwork: req.getHeader('access-control-request-private-network') === 'true',
    };
    const status = verdict === 'foreign' ? 403 : 204;
    this.#answer(res, req, this.#preflights, status, marks, (close, marked, rest) => {
      const headers = () => {
        write(res, marked);
        cors.write(res, verdict, origin);
      };
      if (verdict === 'foreign')
        answerProblem(res, httpErrors.ORIGIN_FORBIDDEN, { origin: shown(origin) }, { headers, close, rest });
      else cors.preflight(res, declared, asked, verdict, headers, close);
    });
  }

  #answer(
    res: HttpResponse,
    req: HttpRequest,
    tally: Tally,
    status: number,
    marks: Marks,
    answer: (close: boolean, marked: Marked, rest: BodyRest | undefined) => void,
  ): void {
    const { wire, faults } = this.#deps;
    try {
      const framing = framingOf(req);
      const marked = marks(req);
      if (framing.bad !== undefined) {
        tally.answered(400);
        refuseFraming(res, framing.bad, { head: req.getMethod() === 'head', headers: () => write(res, marked) });
        return;
      }
      tally.answered(status);
      const closing = wire.closing || asksToClose(req, framing);
      answerUnread(res, framing, closing, (close, rest) => answer(close, marked, rest));
    } catch (error) {
      faults.report(error);
      answerFault(res);
    }
  }
}
