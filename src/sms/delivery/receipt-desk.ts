/** Receipt desk: takes receipts one by one and records those that come together in one transaction. */
import type { PostgresLink } from '../../store/postgres/connection.ts';
import { faultOf } from '../../store/postgres/fault.ts';
import { KeptLink } from '../../store/postgres/kept-link.ts';
import type { Receipt } from '../operators/contract.ts';
import type { Settlement } from './outcomes.ts';
import type { ExpressPromise } from './promise.ts';
import { type Recorded, recordReceipts } from './receipts.ts';

const BATCH = 500;
const WAITING_MAX = 10_000;

interface Waiting {
  readonly receipt: Receipt;
  resolve(recorded: Recorded): void;
  reject(error: unknown): void;
}

export interface ReceiptDeskDeps {
  readonly open: () => Promise<PostgresLink>;
  readonly express: ExpressPromise;
  /** What receipts have changed. */
  readonly told: (settled: Settlement) => void;
}

export class ReceiptDesk {
  readonly #deps: ReceiptDeskDeps;
  readonly #waiting: Waiting[] = [];
  readonly #link: KeptLink;
  #running = false;

  constructor(deps: ReceiptDeskDeps) {
    this.#deps = deps;
    this.#link = new KeptLink(deps.open);
  }

  /** Resolves after the commit. Rejects when the database is away, or too many wait. */
  take(receipt: Receipt): Promise<Recorded> {
    if (this.#waiting.length >= WAITING_MAX)
      return Promise.reject(new Error(`at most ${WAITING_MAX} receipts can wait for the database`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ receipt, resolve, reject });
      void this.#run();
    });
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (this.#waiting.length > 0) await this.#record(this.#waiting.splice(0, BATCH));
    this.#running = false;
  }

  /** By halves where the server refuses what one of them says: the others come from other operators, or messages. */
  async #record(batch: readonly Waiting[]): Promise<void> {
    const { express, told } = this.#deps;
    const receipts = batch.map(({ receipt }) => receipt);
    try {
      const recorded = await recordReceipts(await this.#link.get(), receipts, express, told);
      for (const [at, { resolve }] of batch.entries()) resolve(recorded[at]!);
    } catch (error) {
      if (batch.length > 1 && faultOf(error) === 'row') {
        const half = batch.length >> 1;
        await this.#record(batch.slice(0, half));
        await this.#record(batch.slice(half));
      } else for (const { reject } of batch) reject(error);
    }
  }
}
