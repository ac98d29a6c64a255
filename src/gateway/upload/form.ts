/**
 * Form: the first file of a multipart/form-data body (RFC 7578), by @fastify/busboy. Everything is bounded; a second
 * file is refused.
 */
import { Busboy, type BusboyHeaders } from '@fastify/busboy';
import { serviceErrors } from '../../service/errors.ts';

export interface FormSink {
  /** A piece of the file. False: no more until resume(). */
  chunk(bytes: Uint8Array): boolean;
  /** A field that is no file. */
  field(name: string, value: string): void;
  /** The form is whole. */
  end(): void;
  failed(error: unknown): void;
}

/** Bytes of a form beside its file: names, fields, boundaries. */
export const FORM_BYTES_MAX = 64 * 1024;
const limits = { files: 2, fields: 20, parts: 30, fieldNameSize: 100, fieldSize: 1000, headerPairs: 50 };

const bad = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });
const invalid = (error: unknown): Error => bad(`a form must be valid: ${(error as Error).message}`);

export class Form {
  readonly #busboy: InstanceType<typeof Busboy>;
  #resume: (() => void) | undefined;
  #ended = false;

  /** Throws INPUT_REFUSED when the Content-Type has no boundary. */
  constructor(contentType: string, sink: FormSink) {
    try {
      this.#busboy = new Busboy({ headers: { 'content-type': contentType } as BusboyHeaders, limits });
    } catch (error) {
      throw serviceErrors.INPUT_REFUSED({ reason: `Content-Type must have a boundary: ${(error as Error).message}` });
    }
    let files = 0;
    const fail = (error: unknown) => {
      if (this.#ended) return;
      this.#ended = true;
      sink.failed(error);
    };
    this.#busboy
      .on('file', (_name, stream) => {
        files += 1;
        stream.on('error', (error) => fail(invalid(error)));
        if (files > 1) {
          stream.resume();
          fail(bad('a form must have one file'));
          return;
        }
        stream.on('data', (bytes: Buffer) => {
          if (this.#ended || sink.chunk(bytes)) return;
          stream.pause();
          this.#resume = () => stream.resume();
        });
      })
      .on('field', (name, value) => {
        if (!this.#ended) sink.field(name, value);
      })
      .on('error', (error) => fail(invalid(error)))
      // A field that were left out might be `strip`.
      .on('fieldsLimit', () => fail(bad(`a form must have at most ${limits.fields} fields`)))
      .on('partsLimit', () => fail(bad(`a form must have at most ${limits.parts} parts`)))
      .on('finish', () => {
        if (this.#ended) return;
        if (files === 0) fail(bad('a form must have a file'));
        else {
          this.#ended = true;
          sink.end();
        }
      });
  }

  /** False: wait for `drained`. */
  write(bytes: Uint8Array): boolean {
    return this.#busboy.write(Buffer.from(bytes));
  }

  drained(then: () => void): void {
    this.#busboy.once('drain', then);
  }

  /** For the sink: there is room again. */
  resume(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  end(): void {
    this.#busboy.end();
  }

  /** What still comes is thrown away. */
  drop(): void {
    this.#ended = true;
    this.#busboy.destroy();
  }
}
