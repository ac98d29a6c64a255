/**
 * Receive: a body becomes a file in UPLOAD_DIR/.receiving, at the pace of the disk. The digest is made on the way; what
 * cannot be a picture is refused by its first bytes.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { serviceErrors } from '../../service/errors.ts';
import { gatewayErrors } from '../errors.ts';
import { formatOf, inspect, type Picture } from './inspect.ts';
import { removeLocation, strippable } from './location.ts';
import { diskFault, TEMPORARY } from './store.ts';

/** More bytes than this wait for the disk: the client waits, too. */
const PENDING_BYTES_MAX = 128 * 1024;
const HEAD_BYTES = 32;
const PIECE_BYTES = 64 * 1024;

export interface Received extends Picture {
  /** Its name in UPLOAD_DIR/.receiving. */
  readonly temporary: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface ReceiveOptions {
  readonly folder: string;
  readonly pixelsMax: number;
}

export class Receiver {
  readonly #options: ReceiveOptions;
  readonly #temporary = randomUUID();
  readonly #hash = createHash('sha256');
  readonly #handle: Promise<FileHandle>;
  /** What was written so far; a rejection is what went wrong. */
  #tail: Promise<void> = Promise.resolve();
  #pendingBytes = 0;
  #bytes = 0;
  #head = Buffer.alloc(0);
  #room: (() => void) | undefined;
  #failed = false;
  /** Why the disk has refused a write. */
  #failure: unknown;

  constructor(options: ReceiveOptions) {
    this.#options = options;
    this.#handle = this.#open();
    // It is told by the first write, or by finish().
    this.#handle.catch(() => undefined);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * False: the disk is behind, wait for `room`. Throws UPLOAD_UNKNOWN when the first bytes are those of no picture, and
   * what the disk has refused with.
   */
  write(bytes: Uint8Array): boolean {
    if (this.#failure !== undefined) throw known(this.#failure);
    if (this.#head.length < HEAD_BYTES) {
      this.#head = Buffer.concat([this.#head, bytes.subarray(0, HEAD_BYTES - this.#head.length)]);
      if (this.#head.length >= HEAD_BYTES) this.#mustBePicture();
    }
    this.#hash.update(bytes);
    const at = this.#bytes;
    this.#bytes += bytes.length;
    this.#pendingBytes += bytes.length;
    this.#tail = this.#tail.then(() => this.#put(bytes, at));
    this.#tail.catch((error: unknown) => this.#fail(error));
    return this.#pendingBytes <= PENDING_BYTES_MAX;
  }

  /** Called once when there is room again, also when writing has failed; never before this returns. */
  onRoom(then: () => void): void {
    if (this.#failed || this.#pendingBytes <= PENDING_BYTES_MAX) setImmediate(then);
    else this.#room = then;
  }

  /**
   * The body is whole: what it is, and durable. Rejects with UPLOAD_UNKNOWN, UPLOAD_PIXELS or UPLOADS_FULL; the file is
   * gone then.
   */
  async finish(stripLocation: boolean): Promise<Received> {
    try {
      await this.#tail;
      const handle = await this.#handle;
      this.#mustBePicture();
      const read = async (offset: number, bytes: number): Promise<Buffer> => {
        const buffer = Buffer.alloc(bytes);
        const { bytesRead } = await handle.read(buffer, 0, bytes, offset);
        return buffer.subarray(0, bytesRead);
      };
      const picture = await inspect(read, this.#bytes);
      if (picture === undefined) throw gatewayErrors.UPLOAD_UNKNOWN({ found: 'a damaged header' });
      const { width, height, format } = picture;
      const limit = this.#options.pixelsMax;
      if (width * height > limit) throw gatewayErrors.UPLOAD_PIXELS({ width, height, limit });
      let sha256 = this.#hash.digest('hex');
      if (stripLocation) {
        if (!strippable.has(format))
          throw serviceErrors.INPUT_REFUSED({
            reason: `strip=location takes JPEG, PNG, WebP, AVIF and HEIC: found=${format}`,
          });
        const write = async (offset: number, bytes: Buffer): Promise<void> => {
          await handle.write(bytes, 0, bytes.length, offset);
        };
        await removeLocation({ read, write, bytes: this.#bytes }, format);
        sha256 = await digestOf(read, this.#bytes);
      }
      await handle.sync();
      await handle.close();
      return { ...picture, temporary: this.#temporary, sha256, bytes: this.#bytes };
    } catch (error) {
      await this.drop();
      throw known(error);
    }
  }

  /** Nobody wants it. Never rejects. */
  async drop(): Promise<void> {
    this.#failed = true;
    await this.#tail.catch(() => undefined);
    const handle = await this.#handle.catch(() => undefined);
    await handle?.close().catch(() => undefined);
    await rm(join(this.#options.folder, TEMPORARY, this.#temporary), { force: true }).catch(() => undefined);
  }

  async #open(): Promise<FileHandle> {
    const folder = join(this.#options.folder, TEMPORARY);
    await mkdir(folder, { recursive: true });
    // imgproxy may run as somebody else.
    return open(join(folder, this.#temporary), 'wx+', 0o644);
  }

  async #put(bytes: Uint8Array, at: number): Promise<void> {
    if (this.#failed) return;
    const handle = await this.#handle;
    for (let done = 0; done < bytes.length; )
      done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    this.#pendingBytes -= bytes.length;
    if (this.#pendingBytes <= PENDING_BYTES_MAX) this.#tellRoom();
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#failure ??= error;
    this.#tellRoom();
  }

  #tellRoom(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.();
  }

  #mustBePicture(): void {
    if (formatOf(this.#head) !== undefined) return;
    const text = this.#head.toString('latin1', 0, 16);
    const found = this.#bytes === 0 && this.#head.length === 0 ? 'nothing' : JSON.stringify(text);
    throw gatewayErrors.UPLOAD_UNKNOWN({ found });
  }
}

async function digestOf(read: (offset: number, bytes: number) => Promise<Buffer>, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes; at += PIECE_BYTES) hash.update(await read(at, PIECE_BYTES));
  return hash.digest('hex');
}

/** Damaged metadata is the client's. */
function known(error: unknown): unknown {
  if (error instanceof RangeError) return gatewayErrors.UPLOAD_UNKNOWN({ found: 'damaged metadata' }, error);
  return diskFault(error);
}
