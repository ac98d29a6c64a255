/** What every question gets: how long, how often, where, and the files of requests. And what every question is. */
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { buildGo } from './install.ts';
import { type Load, type OpenLoopOptions, type OpenReply, openLoop } from './load.ts';
import type { Place } from './peers.ts';
import type { Answer } from './report.ts';
import { collectRequests, type HttpRequest, type PixelOptions, pixelRequests, writeRequests } from './request.ts';
import type { Subject } from './subject.ts';

export interface Question {
  /** Names the markers in RESULTS.md, the file of results and `--only`. */
  readonly name: string;
  readonly asks: string;
  answer(bench: Bench): Promise<Answer>;
}

export interface BenchOptions {
  readonly tree: string;
  readonly dir: string;
  readonly portBase: number;
  readonly rounds: number;
  readonly seconds: number;
  readonly short: boolean;
  readonly long: boolean;
}

export class Bench {
  readonly tree: string;
  readonly short: boolean;
  readonly long: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly binaries: string;
  readonly #dir: string;
  readonly #files = new Map<string, string>();
  #port: number;
  #places = 0;

  constructor(options: BenchOptions) {
    this.tree = options.tree;
    this.short = options.short;
    this.long = options.long;
    this.rounds = options.rounds;
    this.seconds = options.seconds;
    this.#dir = options.dir;
    this.#port = options.portBase;
    this.binaries = join(options.dir, 'bin');
    mkdirSync(this.binaries, { recursive: true });
  }

  /** A fresh directory and port. */
  place(): Place {
    const dir = join(this.#dir, `place-${this.#places++}`);
    mkdirSync(dir, { recursive: true });
    return { dir, port: this.#port++ };
  }

  /** Removes the files of all places so far: what one question has written must not fill the disk of the next one. */
  clearPlaces(): void {
    for (let i = 0; i < this.#places; i++) rmSync(join(this.#dir, `place-${i}`), { recursive: true, force: true });
  }

  /** Bytes that the disk of the places has free. */
  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#dir);
    return bavail * bsize;
  }

  file(name: string): string {
    return join(this.#dir, name);
  }

  /** A file of raw requests, made once per kind. */
  requests(kind: string, make: () => HttpRequest[]): string {
    let path = this.#files.get(kind);
    if (path === undefined) {
      path = join(this.#dir, `${kind}.requests`);
      writeRequests(path, make());
      this.#files.set(kind, path);
    }
    return path;
  }

  pixels(options: PixelOptions = { forwarded: true }): string {
    const kind = Object.entries(options).flatMap(([key, value]) => (value === true ? [key] : [`${key}-${value}`]));
    return this.requests(`pixel-${kind.sort().join('-')}`, () => pixelRequests(options));
  }

  collects(events: number): string {
    return this.requests(`collect-${events}`, () => collectRequests(events));
  }

  /** The generator with a fixed rate, built on first use. */
  openLoop(requestFile: string, options: Omit<OpenLoopOptions, 'binary'>): Load<OpenReply> {
    return openLoop(requestFile, { ...options, binary: buildGo('load/open-loop', this.binaries) });
  }

  /** Runs with subjects and stops all of them whatever happens. */
  async with<S extends Subject, T>(
    starts: readonly (() => Promise<S>)[],
    use: (subjects: S[]) => Promise<T>,
  ): Promise<T> {
    const subjects: S[] = [];
    try {
      for (const start of starts) subjects.push(await start());
      return await use(subjects);
    } finally {
      await Promise.all(subjects.map((subject) => subject.stop()));
    }
  }

  dispose(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
