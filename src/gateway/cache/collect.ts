/**
 * Collect: reads the whole body of a backend's answer, so that its place at the backend is free again however slowly
 * clients read. A body that is not too long comes as one buffer; a longer one goes on into a file without a name, from
 * which everybody who has waited for it reads.
 */
import { createHash } from 'node:crypto';
import type { BodyKeep } from '../front/exchange.ts';
import type { UpstreamAnswer, UpstreamFlow, UpstreamSink } from '../proxy/upstream.ts';
import type { BodyFile, Spool } from './disk.ts';

export const PIECE_BYTES = 128 * 1024;

/** A body that is too long for the cache. Its file lives as long as somebody holds it: first who has made it. */
export class LargeBody {
  readonly bytes: number;
  readonly etag: string;
  readonly #file: BodyFile;
  #holders = 1;

  constructor(file: BodyFile, bytes: number, etag: string) {
    this.#file = file;
    this.bytes = bytes;
    this.etag = etag;
  }

  reader(from: number, to: number): BodyKeep {
    this.#holders++;
    let open = true;
    return {
      read: (at) => this.#file.read(from + at, Math.min(PIECE_BYTES, to - from - at)),
      release: () => {
        if (open) this.release();
        open = false;
      },
    };
  }

  release(): void {
    this.#holders--;
    if (this.#holders === 0) this.#file.close();
  }
}

export interface CollectLimits {
  /** Of a body that comes as one buffer. */
  readonly bytesMax: number;
  /** Opens a file for a longer one. */
  spool(): Promise<Spool>;
}

/** Undefined: it is too long, and there is no room for it on the disk. Rejects when it does not come whole. */
export function collect(answer: UpstreamAnswer, limits: CollectLimits): Promise<Buffer | LargeBody | undefined> {
  return new Promise((resolve, reject) => {
    const collector = new Collector(limits, resolve, reject);
    collector.begin(answer.pipe(collector));
  });
}

class Collector implements UpstreamSink {
  readonly #limits: CollectLimits;
  readonly #resolve: (found: Buffer | LargeBody | undefined) => void;
  readonly #reject: (error: Error) => void;
  readonly #hash = createHash('sha256');
  #flow: UpstreamFlow | undefined;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #over = false;
  #spool: Spool | undefined;
  /** Of what has come last; undefined: it is not too long yet. */
  #written: Promise<void> | undefined;

  constructor(
    limits: CollectLimits,
    resolve: (found: Buffer | LargeBody | undefined) => void,
    reject: (error: Error) => void,
  ) {
    this.#limits = limits;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Its first bytes may be here by now. */
  begin(flow: UpstreamFlow): void {
    this.#flow = flow;
  }

  chunk(piece: Uint8Array): boolean {
    if (this.#over) return false;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes <= this.#limits.bytesMax) return true;
    // No other piece comes before resume().
    this.#written = this.#write();
    return false;
  }

  end(): void {
    if (this.#written === undefined) this.#end(wholeOf(this.#pieces, this.#bytes));
    else
      void this.#written.then(() => {
        if (this.#over) return;
        const etag = `"${this.#hash.digest('base64url').slice(0, 27)}"`;
        this.#end(new LargeBody(this.#spool!.file(), this.#bytes, etag));
      });
  }

  failed(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#reject(error as Error);
    void this.#written?.then(() => this.#spool?.drop());
  }

  async #write(): Promise<void> {
    try {
      this.#spool ??= await this.#limits.spool();
      for (const piece of this.#pieces.splice(0)) {
        this.#hash.update(piece);
        await this.#spool.write(piece);
      }
      if (!this.#over) this.#flow!.resume();
    } catch {
      this.#spool?.drop();
      this.#flow?.cancel();
      this.#end(undefined);
    }
  }

  #end(found: Buffer | LargeBody | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#pieces = [];
    this.#resolve(found);
  }
}

/** A piece of its own size is kept as it is; one that was cut from a larger buffer would keep all of that. */
function wholeOf(pieces: readonly Uint8Array[], bytes: number): Buffer {
  const [first] = pieces;
  if (pieces.length === 1 && first!.buffer.byteLength === bytes) return Buffer.from(first!.buffer);
  const body = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  for (const piece of pieces) {
    body.set(piece, at);
    at += piece.length;
  }
  return body;
}
