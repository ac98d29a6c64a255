/**
 * A real uWebSockets.js server for tests of the HTTP room: it reads bodies with the room's BodyReader and answers what it got.
 * It counts what reached its handlers, so that a test can tell a refusal from a smuggled request.
 */
import type { HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { answerProblem } from '../../src/http/answer.ts';
import { type BodyFailure, type BodyLimits, BodyReader } from '../../src/http/body.ts';
import { ConnectionRoom } from '../../src/http/connection-room.ts';
import { encodingOf } from '../../src/http/decompress.ts';
import { httpErrors } from '../../src/http/errors.ts';
import { framingOf, refuseFraming } from '../../src/http/guards.ts';
import { Listener, type ListenOptions } from '../../src/http/listen.ts';

export interface Seen {
  /** Targets of GET requests that reached the handler. */
  readonly gets: string[];
  /** Bodies that were handed on. */
  readonly bodies: string[];
  readonly failures: BodyFailure[];
  aborted: number;
}

export interface TestServer {
  readonly port: number;
  readonly seen: Seen;
  readonly reader: BodyReader;
  readonly listener: Listener;
}

const limits: BodyLimits = { maxBodyBytes: 1024 * 1024, bodyMemoryBytes: 8 * 1024 * 1024, bodyTimeoutMs: 1000 };

export function startServer(
  t: { onTestFinished(fn: () => unknown): void },
  port: number,
  options: Partial<BodyLimits> & Partial<Omit<ListenOptions, 'routes'>> = {},
): TestServer {
  const seen: Seen = { gets: [], bodies: [], failures: [], aborted: 0 };
  const reader = new BodyReader({ ...limits, ...options });
  const routes = (app: TemplatedApp) => {
    app.get('/get', (res, req) => {
      seen.gets.push(req.getQuery() ?? '');
      res.end('got');
    });
    app.post('/body', (res, req) => {
      const framing = framingOf(req);
      if (framing.bad !== undefined) {
        refuseFraming(res, framing.bad);
        return;
      }
      reader.read(res, framing, encodingOf(req.getHeader('content-encoding'))!, {
        body: (bytes, inHandler) => {
          seen.bodies.push(bytes.toString('latin1'));
          corked(res, inHandler, () => res.end(`read ${bytes.length}`, framing.chunked));
        },
        failed: (failure, inHandler) => {
          seen.failures.push(failure);
          corked(res, inHandler, () =>
            answerProblem(res, httpErrors.BAD_REQUEST, { reason: failure.code }, { close: true }),
          );
        },
        aborted: () => {
          seen.aborted += 1;
        },
      });
    });
  };
  const listener = new Listener({
    endpoint: { host: '127.0.0.1', port },
    room: new ConnectionRoom({ max: 1000 }),
    ...options,
    routes,
  });
  t.onTestFinished(() => {
    reader.close();
    listener.close();
  });
  return { port, seen, reader, listener };
}

function corked(res: HttpResponse, inHandler: boolean, answer: () => void): void {
  if (inHandler) answer();
  else res.cork(answer);
}
