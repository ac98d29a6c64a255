/** What acceptors ask the database worker about uploads (answers.ts). */
import type { PictureFormat } from './inspect.ts';

export const UPLOADS_AREA = 'uploads';
/** What keeps a file waits for whoever keeps or removes the same one. */
export const ASK_MS_MAX = 12_000;

/** An upload, as its owner sees it. */
export interface Upload {
  readonly id: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly format: PictureFormat;
  readonly width: number;
  readonly height: number;
  /** Below UPLOAD_DIR. */
  readonly path: string;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** A file that was received whole, and waits in UPLOAD_DIR under `temporary`. */
export interface KeepQuestion extends Omit<Upload, 'createdAt'> {
  readonly userId: number;
  readonly temporary: string;
}

export interface ListQuestion {
  readonly userId: number;
  readonly limit: number;
  /** The last one of the page before. */
  readonly after: { readonly createdAt: string; readonly id: string } | undefined;
}

export interface OneQuestion {
  readonly userId: number;
  readonly id: string;
}
