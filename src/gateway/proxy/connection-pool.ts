/**
 * Connection pool: the connections of a thread to one backend. A request takes the idle one that was used last, or
 * opens another; the balancer has bounded how many requests are under way. Those that idle for long close themselves.
 */
import { type AnswerReader, Connection, type ConnectionHooks, type ConnectionShared } from './connection.ts';

export class ConnectionPool implements ConnectionHooks {
  readonly #origin: URL;
  readonly #shared: ConnectionShared;
  readonly #all = new Set<Connection>();
  /** The one used last at the end. */
  readonly #idle: Connection[] = [];

  /** `origin`: http://host:port. */
  constructor(origin: string, shared: ConnectionShared) {
    this.#origin = new URL(origin);
    this.#shared = shared;
  }

  /** What requests carry as Host. */
  get host(): string {
    return this.#origin.host;
  }

  /** Sends a request; returns the connection that it is on. */
  send(request: string, reader: AnswerReader): Connection {
    const connection = this.#take() ?? this.#open();
    connection.send(request, reader);
    return connection;
  }

  #take(): Connection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.fresh) return connection;
      connection.retire();
    }
    return undefined;
  }

  #open(): Connection {
    const connection = new Connection(this.#origin, this.#shared, this);
    this.#all.add(connection);
    return connection;
  }

  idle(connection: Connection): void {
    this.#idle.push(connection);
  }

  closed(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /** Closes what idles, and the others when their answers have ended. */
  retire(): void {
    for (const connection of [...this.#all]) connection.retire();
  }

  /** Closes all of them. */
  close(): void {
    for (const connection of [...this.#all]) connection.destroy();
  }
}
