/**
 * Renewal: new certificates reach the listener by themselves, or at once by renew() (SIGHUP). The two files are
 * replaced one after the other, so a change is taken when the files have stood still from one look to the next. Files
 * that cannot be used change nothing and are reported once; the certificate in use stays in use.
 */
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { errors } from '../kernel/errors.ts';
import type { Listener, TlsFiles } from './listen.ts';

export interface RenewalReports {
  renewed(): void;
  /** The files cannot be read or used. */
  problem(error: unknown): void;
}

const LOOK_EVERY_MS = 20_000;

export class Renewal {
  readonly #listener: Listener;
  readonly #files: TlsFiles;
  readonly #reports: RenewalReports;
  readonly #timer: NodeJS.Timeout;
  /** The files that the listener has, or has refused; undefined until the first look. */
  #taken: string | undefined;
  #seen: string | undefined;

  constructor(listener: Listener, files: TlsFiles, reports: RenewalReports, lookEveryMs: number = LOOK_EVERY_MS) {
    this.#listener = listener;
    this.#files = files;
    this.#reports = reports;
    this.#timer = setInterval(() => void this.#look(), lookEveryMs);
    this.#timer.unref();
    void this.#look();
  }

  /** Reads the files now, changed or not. */
  renew(): void {
    try {
      this.#listener.renew();
      this.#reports.renewed();
    } catch (error) {
      this.#reports.problem(error);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const stamp = await stampOf(this.#files);
    const still = stamp === this.#seen;
    this.#seen = stamp;
    this.#taken ??= stamp;
    if (!still || stamp === this.#taken) return;
    this.#taken = stamp;
    this.renew();
  }
}

/** Throws CONFIG that names the file and what is wrong with it; the addon would only say that it failed. */
export function checkCertificates({ cert, key }: TlsFiles): void {
  const read = (name: string, file: string) => {
    try {
      return readFileSync(file);
    } catch (cause) {
      throw errors.CONFIG({ problems: [`${name} must be a readable file: found=${file}`] }, cause);
    }
  };
  const pair = { cert: read('TLS_CERT', cert), key: read('TLS_KEY', key) };
  try {
    createSecureContext(pair);
  } catch (cause) {
    const found = `TLS_CERT=${cert}, TLS_KEY=${key}`;
    throw errors.CONFIG(
      { problems: [`TLS_CERT and TLS_KEY must be a PEM pair that fits together: found ${found}`] },
      cause,
    );
  }
}

async function stampOf({ cert, key }: TlsFiles): Promise<string> {
  const stamps = [cert, key].map(async (file) => {
    try {
      const { ino, size, mtimeMs } = await stat(file);
      return `${ino} ${size} ${mtimeMs}`;
    } catch (error) {
      return String((error as NodeJS.ErrnoException).code);
    }
  });
  return (await Promise.all(stamps)).join(', ');
}
