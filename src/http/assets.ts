/**
 * Assets: the built files of a front end. The folder is read once, at start, within a bound; requests are answered from
 * memory. Only paths that were found then exist: no request reaches the file system, so there is nothing to traverse.
 *
 *   caching     a name with a hash in it (app-3f9c01ab.js) never changes: kept for a year. Anything else, index.html
 *               above all, is asked for again each time and answered 304 by its ETag
 *   encodings   name.br and name.gz beside name are served in its place. Without them text is compressed once, at start
 *   paths       /a/ is /a/index.html. `fallback`: the page for paths that a script of the front end routes by itself
 *   headers     nosniff on everything; on pages the Content-Security-Policy of `csp`, and no referrer to other sites
 */

import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { answerProblem, endBare, shown, statusLine } from './answer.ts';
import { httpErrors } from './errors.ts';
import { endWhole } from './hold-back.ts';
import type { MountedRoute, Route } from './router.ts';
import { wireText } from './wire-text.ts';

/** Scripts, styles and connections from the own origin alone; no frames, no plug-ins, no inline script. */
export const strictCsp =
  "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; " +
  "frame-ancestors 'none'";

export interface AssetOptions {
  /** Content-Security-Policy of pages; '' for none. */
  readonly csp?: string;
  /** File that answers a page view of a path that is no file, such as 'index.html'. Default: 404. */
  readonly fallback?: string;
  /** Names that never change their content. */
  readonly hashed?: RegExp;
  /** Most bytes of all files; more is refused at start. */
  readonly bytesMax?: number;
}

const MiB = 2 ** 20;
const BYTES_MAX = 64 * MiB;
/**
 * What bundlers write into a name: eight or more hexadecimal digits with a digit among them, or eight of base 32
 * (esbuild). One hash in five of base 32 has no digit: eight capitals alone count in the names of scripts, styles and
 * fonts, which people do not give, and not in those of pictures and papers (plan-ORIGINAL.pdf).
 */
const HASHED =
  /[.-](?:(?:(?=[a-f]*\d)[0-9a-f]{8,}|(?=[A-Z]*[2-7])[A-Z2-7]{8})\.[a-z0-9.]+|[A-Z]{8}\.(?:m?js|css|woff2)(?:\.map)?)$/;
const YEAR_S = 31_536_000;
/** Shorter text gains nothing by compression. */
const COMPRESS_BYTES_MIN = 1024;
/** Files without a precompressed sibling are compressed at start: quick rather than smallest. */
const BROTLI_QUALITY = 5;

const types: Readonly<Record<string, string>> = {
  '.avif': 'image/avif',
  '.css': 'text/css; charset=utf-8',
  '.csv': 'text/csv; charset=utf-8',
  '.gif': 'image/gif',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.md': 'text/markdown; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
};
const packed: ReadonlySet<string> = new Set(['.avif', '.gif', '.jpg', '.jpeg', '.pdf', '.png', '.webp', '.woff2']);

/** One encoding of a file. */
export interface Variant {
  readonly encoding: '' | 'br' | 'gzip';
  readonly bytes: Buffer;
  readonly etag: string;
  readonly etagHeader: ArrayBuffer;
}

interface Asset {
  readonly type: string;
  readonly page: boolean;
  readonly cacheControl: string;
  /** The smallest first, the plain one last. */
  readonly variants: readonly Variant[];
}

export class Assets {
  readonly #files = new Map<string, Asset>();
  readonly #csp: string;
  readonly #fallback: Asset | undefined;

  /**
   * Reads the folder. Throws when it cannot be read, holds no file, holds more than `bytesMax`, or lacks the fallback.
   */
  constructor(folder: string | URL, options: AssetOptions = {}) {
    const { csp = strictCsp, fallback, hashed = HASHED, bytesMax = BYTES_MAX } = options;
    const root = typeof folder === 'string' ? folder : fileURLToPath(folder);
    this.#csp = csp;
    const files = filesBelow(root);
    const total = files.reduce((sum, file) => sum + statSync(join(root, file)).size, 0);
    if (files.length === 0) throw new Error(`a front end must have files: folder=${root}`);
    if (total > bytesMax)
      throw new Error(`a front end must fit its bound: folder=${root}, bytes=${total}, limit=${bytesMax}`);
    const names = new Set(files);
    for (const file of files) {
      const plain = file.replace(/\.(br|gz)$/, '');
      if (plain !== file && names.has(plain)) continue;
      const asset = readAsset(root, file, names, hashed);
      this.#files.set(`/${file}`, asset);
      if (file === 'index.html' || file.endsWith('/index.html'))
        this.#files.set(`/${file.slice(0, -'index.html'.length)}`, asset);
    }
    if (fallback === undefined) return;
    this.#fallback = this.#files.get(`/${fallback}`);
    if (this.#fallback === undefined)
      throw new Error(`a front end must hold its fallback: folder=${root}, fallback=${fallback}`);
  }

  /** Paths that are served. */
  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** The route to mount; `name` is its metric label. */
  route(name: string, path = '/*'): Route {
    const handler = (res: HttpResponse, req: HttpRequest, at: MountedRoute) => this.#serve(res, req, at);
    return { name, path, on: { GET: handler, HEAD: handler }, untraced: true };
  }

  #serve(res: HttpResponse, req: HttpRequest, at: MountedRoute): void {
    const { tally, wire, head } = at;
    const path = req.getUrl();
    const asset = this.#files.get(decoded(path)) ?? this.#page(req);
    if (asset === undefined) {
      tally.answered(404);
      answerProblem(res, httpErrors.NOT_FOUND, { path: shown(path) }, { head, close: wire.closing });
      return;
    }
    const variant = chosen(asset, req.getHeader('accept-encoding'));
    const fresh = isFresh(req.getHeader('if-none-match'), variant.etag);
    const status = fresh ? 304 : 200;
    tally.answered(status);
    res.writeStatus(statusLine(status));
    res.writeHeader('ETag', variant.etagHeader);
    res.writeHeader('Cache-Control', asset.cacheControl);
    if (asset.variants.length > 1) res.writeHeader('Vary', 'Accept-Encoding');
    if (fresh) {
      endBare(res, undefined, wire.closing);
      return;
    }
    res.writeHeader('Content-Type', asset.type);
    res.writeHeader('X-Content-Type-Options', 'nosniff');
    if (variant.encoding !== '') res.writeHeader('Content-Encoding', variant.encoding);
    // A link that is shared carries its token in the address: no other site learns it.
    if (asset.page) res.writeHeader('Referrer-Policy', 'same-origin');
    if (asset.page && this.#csp !== '') res.writeHeader('Content-Security-Policy', this.#csp);
    if (head) endBare(res, variant.bytes.length, wire.closing);
    else endWhole(res, variant.bytes, wire.closing, wire.onClose);
  }

  /** The fallback, for a browser that asks for a page: a missing script or picture must be 404, not a page. */
  #page(req: HttpRequest): Asset | undefined {
    return this.#fallback !== undefined && req.getHeader('accept').includes('text/html') ? this.#fallback : undefined;
  }
}

/**
 * Regular files below the folder, by their path with slashes. Hidden names and symbolic links are left out; the
 * recursive mode of readdir would follow links to folders.
 */
function filesBelow(root: string, below = ''): readonly string[] {
  const entries = readdirSync(join(root, below), { withFileTypes: true }).filter(({ name }) => !name.startsWith('.'));
  return entries.flatMap((entry) => {
    const path = below + entry.name;
    if (entry.isDirectory()) return filesBelow(root, `${path}/`);
    return entry.isFile() ? [path] : [];
  });
}

function readAsset(root: string, file: string, names: ReadonlySet<string>, hashed: RegExp): Asset {
  const bytes = readFileSync(join(root, file));
  const extension = extname(file).toLowerCase();
  const type = types[extension] ?? 'application/octet-stream';
  const sibling = (suffix: string) => (names.has(file + suffix) ? readFileSync(join(root, file + suffix)) : undefined);
  const worth = types[extension] !== undefined && !packed.has(extension);
  return {
    type,
    page: extension === '.html',
    cacheControl: hashed.test(file) ? `public, max-age=${YEAR_S}, immutable` : 'no-cache',
    variants: variantsOf(bytes, worth, sibling('.br'), sibling('.gz')),
  };
}

/** The encodings of a content, the smallest first; those that are not given are made when it is worth it. */
export function variantsOf(bytes: Buffer, packs: boolean, br?: Buffer, gzip?: Buffer): readonly Variant[] {
  const worth = packs && bytes.length >= COMPRESS_BYTES_MIN;
  const tag = createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
  const made = [
    ['br', br ?? (worth ? brotli(bytes) : undefined)],
    ['gzip', gzip ?? (worth ? gzipSync(bytes, { level: 9 }) : undefined)],
  ] as const;
  const smaller = made.flatMap(([encoding, packed]) =>
    packed !== undefined && packed.length < bytes.length ? [variantOf(encoding, packed, tag)] : [],
  );
  return [...smaller.sort((a, b) => a.bytes.length - b.bytes.length), variantOf('', bytes, tag)];
}

function brotli(bytes: Buffer): Buffer {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } });
}

/** The tag of the content, with the encoding: two encodings are two representations (RFC 9110, 8.8.3.3). */
function variantOf(encoding: Variant['encoding'], bytes: Buffer, tag: string): Variant {
  const etag = encoding === '' ? `"${tag}"` : `"${tag}-${encoding}"`;
  return { encoding, bytes, etag, etagHeader: wireText(etag) };
}

export function chosen(asset: Pick<Asset, 'variants'>, accepted: string): Variant {
  const { variants } = asset;
  if (variants.length > 1 && accepted !== '') {
    const takes = accepts(accepted);
    for (const variant of variants) if (variant.encoding === '' || takes(variant.encoding)) return variant;
  }
  return variants.at(-1)!;
}

/** What an Accept-Encoding header takes. An encoding with q=0 is refused, `*` stands for those that are not named. */
function accepts(header: string): (encoding: string) => boolean {
  const named = new Map<string, boolean>();
  for (const item of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim());
    named.set(name, !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter)));
  }
  return (encoding) => named.get(encoding) ?? named.get('*') ?? false;
}

/** Whether the client has this representation. Weak comparison, as RFC 9110 asks for If-None-Match. */
export function isFresh(header: string, etag: string): boolean {
  if (header === '') return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((item) => item.trim().replace(/^W\//, '') === etag);
}

/** The path without its escapes; a path that is no UTF-8 names no file. */
function decoded(path: string): string {
  if (!path.includes('%')) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return '';
  }
}
