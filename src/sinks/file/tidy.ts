/**
 * Tidy: deletes rotated files beyond the limits and compresses the others, in the background. A failure costs disk
 * space, not events. What is deleted is events that somebody may look for, so the log names the files; a failure is
 * told when it begins and when it is over, however many files it concerns.
 */
import { statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Piscina } from 'piscina';
import { type Logger, Transitions } from '../../kernel/log.ts';
import { reasonAt } from '../../kernel/place.ts';
import type { FileConfig } from './config.ts';
import { pruneRotated, rotatedFiles } from './rotated.ts';

/** Files that one line names; the others are counted. */
const NAMES_MAX = 10;

export interface TidyDeps {
  readonly path: string;
  readonly config: Pick<FileConfig, 'logBackups' | 'logMaxAgeDays' | 'logCompress'>;
  readonly log: Logger;
  readonly now: () => number;
}

export class Tidy {
  readonly #deps: TidyDeps;
  readonly #told: Transitions;
  #pool: Piscina<string, void> | undefined;

  constructor(deps: TidyDeps) {
    this.#deps = deps;
    this.#told = new Transitions(deps.log);
  }

  /** Called at the start and after each rotation. */
  run(): void {
    try {
      this.#prune();
      this.#told.up('prune', 'rotated files can be deleted again');
    } catch (error) {
      this.#failed('prune', 'rotated files cannot be deleted; retrying after the next rotation', error);
    }
    if (this.#deps.config.logCompress) void this.#compressAll();
  }

  /** Writes lines that were held back. */
  look(): void {
    this.#told.look();
  }

  async close(): Promise<void> {
    await this.#pool?.close();
  }

  #prune(): void {
    const { path, config, log, now } = this.#deps;
    const { logBackups, logMaxAgeDays } = config;
    const failures: unknown[] = [];
    const sizes = new Map(rotatedFiles(path).map((file) => [file, statSync(file).size]));
    const gone = pruneRotated(path, logBackups, logMaxAgeDays, now(), (error) => void failures.push(error));
    if (gone.length > 0)
      log.info(
        {
          count: gone.length,
          bytes: gone.reduce((sum, file) => sum + (sizes.get(file) ?? 0), 0),
          files: gone.slice(0, NAMES_MAX).map((file) => basename(file)),
          kept: sizes.size - gone.length - failures.length,
          logBackups,
          logMaxAgeDays,
        },
        'rotated files were deleted (LOG_BACKUPS, LOG_MAX_AGE_DAYS)',
      );
    if (failures.length > 0) throw failures[0];
  }

  async #compressAll(): Promise<void> {
    try {
      const files = rotatedFiles(this.#deps.path).filter((file) => !file.endsWith('.gz'));
      const outcomes = await Promise.allSettled(files.map((file) => this.#compress(file)));
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      this.#told.up('compress', 'rotated files can be compressed again');
    } catch (error) {
      this.#failed('compress', 'rotated files cannot be compressed; retrying after the next rotation', error);
    }
  }

  async #compress(file: string): Promise<void> {
    // Loaded only with LOG_COMPRESS: the pool takes memory.
    const { Piscina: Pool } = await import('piscina');
    this.#pool ??= new Pool<string, void>({
      filename: new URL(`./rotated${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url).href,
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: 1000,
    });
    try {
      await this.#pool.run(file);
    } catch (error) {
      throw new Error(reasonAt(error, [file]), { cause: error });
    }
  }

  #failed(key: 'prune' | 'compress', sentence: string, error: unknown): void {
    this.#told.down(key, sentence, { reason: reasonAt(error, [this.#deps.path, dirname(this.#deps.path)]) });
  }
}
