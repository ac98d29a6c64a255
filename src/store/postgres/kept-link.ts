/** Kept link: a session that is opened when it is first asked for, and again when it has broken. One user at a time. */
import type { PostgresLink } from './connection.ts';

export class KeptLink {
  readonly #open: () => Promise<PostgresLink>;
  #link: PostgresLink | undefined;

  constructor(open: () => Promise<PostgresLink>) {
    this.#open = open;
  }

  /** Whether there was a session and it has broken. */
  get broken(): boolean {
    return this.#link?.broken !== undefined;
  }

  /** The session. Rejects as opening one does. */
  async get(): Promise<PostgresLink> {
    if (this.#link !== undefined && this.#link.broken === undefined) return this.#link;
    await this.close();
    this.#link = await this.#open();
    return this.#link;
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = undefined;
    await link?.close();
  }
}
