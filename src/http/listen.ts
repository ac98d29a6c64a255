/**
 * Listen: one acceptor's server on one endpoint. Several threads listen on the same port (SO_REUSEPORT); main has
 * probed the port.
 *
 *   renew()  takes new certificates without a restart. A second app with the new files listens on the same port, then
 *            the first app stops listening. Its open connections go on; it is closed when the last one has ended. The
 *            addon cannot change the certificate of an app: addServerName adds one per exact name, with routes of its
 *            own, and replaces none
 *   stop()   no new connections; open ones go on
 *   close()  ends what is left. A thread must call it before it ends, or the addon aborts the process
 *
 * When a socket closes, the kernel resets connections that it has given to that socket and nobody has accepted
 * (SO_REUSEPORT; net.ipv4.tcp_migrate_req=1 hands them to the others). So renew() lets the first app listen for two
 * more turns of the loop and closes it right after it has accepted.
 */
import {
  App,
  type HttpResponse,
  SSLApp,
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  us_socket_local_port,
} from 'uWebSockets.js';
import { errors } from '../kernel/errors.ts';
import type { ConnectionRoom } from './connection-room.ts';
import { type Endpoint, formatEndpoint } from './endpoint.ts';
import { httpErrors } from './errors.ts';

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

export interface ListenOptions {
  readonly endpoint: Endpoint;
  readonly tls?: TlsFiles;
  /** Where its connections are counted; several listeners may share it. */
  readonly room: ConnectionRoom;
  /** Puts the routes on an app; called again for each renewed one. */
  readonly routes: (app: TemplatedApp) => void;
  /** A connection was closed because there were too many. */
  readonly onShed?: () => void;
}

interface Generation {
  readonly app: TemplatedApp;
  socket: us_listen_socket | undefined;
  open: number;
}

export class Listener {
  readonly #options: ListenOptions;
  #current: Generation;
  /** Apps that have stopped listening and still have connections. */
  readonly #old = new Set<Generation>();
  #closed = false;

  /** Throws PORT_IN_USE, or CONFIG for a certificate that cannot be used. */
  constructor(options: ListenOptions) {
    this.#options = options;
    this.#current = this.#start();
  }

  /** Open connections. */
  get connections(): number {
    let open = this.#current.open;
    for (const generation of this.#old) open += generation.open;
    return open;
  }

  /** The port that it listens on: chosen by the system when the endpoint says 0. -1: it has stopped listening. */
  get port(): number {
    const { socket } = this.#current;
    return socket === undefined ? -1 : us_socket_local_port(socket);
  }

  /** TLS ends in this process. */
  get secure(): boolean {
    return this.#options.tls !== undefined;
  }

  /**
   * New connections get the certificate that the files hold now; for two more turns of the loop some still get the last
   * one. Throws CONFIG and changes nothing when the files cannot be used.
   */
  renew(): void {
    if (this.#closed || this.#current.socket === undefined) return;
    const next = this.#start();
    const last = this.#current;
    this.#current = next;
    this.#old.add(last);
    // Whatever came before `next` listened is accepted by the start of the second turn, microseconds before this close.
    setImmediate(() =>
      setImmediate(() => {
        if (this.#closed) return;
        stopListening(last);
        this.#dispose(last);
      }),
    );
  }

  stop(): void {
    for (const generation of [this.#current, ...this.#old]) stopListening(generation);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const generation of [this.#current, ...this.#old]) {
      stopListening(generation);
      generation.app.close();
    }
    this.#old.clear();
  }

  #start(): Generation {
    const { endpoint, tls, room, routes, onShed } = this.#options;
    const app = tls === undefined ? App() : sslApp(tls);
    const generation: Generation = { app, socket: undefined, open: 0 };
    const count = (res: HttpResponse, change: number) => {
      if (change < 0) {
        generation.open -= 1;
        room.leave();
        // Not inside the addon's close call.
        if (this.#old.has(generation)) setImmediate(() => this.#dispose(generation));
        return;
      }
      generation.open += 1;
      if (!room.enter(res)) {
        onShed?.();
        res.close();
      }
    };
    app.filter((res, change) => count(res, Number(change)));
    routes(app);
    const listening = (socket: us_listen_socket | false) => {
      if (socket !== false) generation.socket = socket;
    };
    if (endpoint.host === '') app.listen(endpoint.port, listening);
    else app.listen(endpoint.host, endpoint.port, listening);
    if (generation.socket === undefined) {
      app.close();
      throw httpErrors.PORT_IN_USE({ address: formatEndpoint(endpoint) });
    }
    return generation;
  }

  /** Frees an app whose last connection has ended. */
  #dispose(generation: Generation): void {
    if (generation.open > 0 || generation.socket !== undefined || this.#closed || !this.#old.delete(generation)) return;
    generation.app.close();
  }
}

function stopListening(generation: Generation): void {
  if (generation.socket === undefined) return;
  us_listen_socket_close(generation.socket);
  generation.socket = undefined;
}

function sslApp(tls: TlsFiles): TemplatedApp {
  try {
    return SSLApp({ cert_file_name: tls.cert, key_file_name: tls.key });
  } catch (cause) {
    const found = `TLS_CERT=${tls.cert}, TLS_KEY=${tls.key}`;
    throw errors.CONFIG(
      { problems: [`TLS_CERT and TLS_KEY must be a readable PEM pair that fits together: found ${found}`] },
      cause,
    );
  }
}
