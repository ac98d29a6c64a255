/**
 * Sources: whose picture a source is. An upload belongs to its owners; every other source must begin with one of
 * ALLOWED_SOURCES, compared as parsed URLs: `https://pics.example.com.evil/` and `https://pics.example.com@evil/` begin
 * with `https://pics.example.com` as texts only.
 */
import { readPicture } from './picture-path.ts';

export type Place =
  /** In UPLOAD_DIR, and so only for those who own it: `ab/<sha256>.jpg`. */
  | { readonly kind: 'upload'; readonly path: string; readonly source: string }
  /** For every user; `source` is its one spelling. */
  | { readonly kind: 'allowed'; readonly source: string }
  | { readonly kind: 'forbidden'; readonly reason: string };

const LOCAL = 'local:///';
/** A second decoding (imgproxy reads a URL's path decoded) must find nothing: no percent sign, no dots, no empty parts. */
const LOCAL_PATH = /^(?!.*(?:^|\/)\.{0,2}(?:\/|$))[^%?#\\]+$/;
/** An encoded slash, backslash or dot: servers decode them or not. */
const ENCODED_SEPARATOR = /%(?:2e|2f|5c)/i;

interface Prefix {
  readonly protocol: string;
  readonly host: string;
  readonly pathname: string;
}

const forbidden = (reason: string): Place => ({ kind: 'forbidden', reason });

function parsed(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** Why a word of ALLOWED_SOURCES is none; undefined: it is one. */
export function prefixProblem(text: string): string | undefined {
  const url = parsed(text);
  const right =
    url !== undefined &&
    /^[a-z][a-z0-9+.-]*:\/\//i.test(text) &&
    url.search + url.hash + url.username + url.password === '';
  if (right && (url.protocol === 'local:' ? url.host === '' : url.host !== '')) return undefined;
  return `ALLOWED_SOURCES must be URLs without user, query and fragment, like https://pics.example.com/ or local://: found=${text}`;
}

/** How sources are spelled that begin like this text; undefined: none can. */
export function spellingOf(text: string): string | undefined {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return undefined;
  return /^local:/i.test(text) ? text : parsed(text)?.href;
}

export class Sources {
  readonly #prefixes: readonly Prefix[];
  readonly #local: readonly string[];

  /** ALLOWED_SOURCES; each is right by prefixProblem(). */
  constructor(allowed: readonly string[]) {
    const urls = allowed.map((text) => new URL(text));
    this.#prefixes = urls.filter(({ protocol }) => protocol !== 'local:');
    this.#local = urls
      .filter(({ protocol }) => protocol === 'local:')
      .map(({ pathname }) => pathname.replace(/^\/+/, ''));
  }

  placeOf(source: string): Place {
    if (/^local:/i.test(source)) return this.#localPlace(source);
    const url = parsed(source);
    if (url === undefined || !/^[a-z][a-z0-9+.-]*:\/\//i.test(source)) return forbidden('a source must be a URL');
    if (url.username !== '' || url.password !== '') return forbidden('a source must not name a user');
    if (url.hash !== '') return forbidden('a source must not have a fragment');
    // A port that is not the scheme's own is another server.
    const found = this.#prefixes.some(
      ({ protocol, host, pathname }) => url.protocol === protocol && url.host === host && below(url.pathname, pathname),
    );
    if (!found) return forbidden('a source must be an own upload, or begin with one of ALLOWED_SOURCES');
    if (ENCODED_SEPARATOR.test(url.pathname)) return forbidden('a source must not encode dots and slashes of its path');
    return { kind: 'allowed', source: url.href };
  }

  #localPlace(source: string): Place {
    const path = source.slice(LOCAL.length);
    if (!source.startsWith(LOCAL) || !LOCAL_PATH.test(path))
      return forbidden(
        'a local source must be local:/// with a plain path: no dots, no empty parts, nothing encoded twice',
      );
    if (this.#local.some((prefix) => below(path, prefix))) return { kind: 'allowed', source };
    return { kind: 'upload', path, source };
  }
}

/** Why a path, without its query, is that of no picture that is served; undefined: it is one, of somebody. */
export function pictureProblem(path: string, sources: Sources): string | undefined {
  const must = 'path must be that of a picture, like /rs:fit:300:200/plain/local:///ab/cd.jpg';
  const picture = readPicture(path);
  if ('reason' in picture) return `${must}: ${picture.reason}`;
  const place = sources.placeOf(picture.source);
  return place.kind === 'forbidden' ? `${must}: ${place.reason}` : undefined;
}

/** Below a folder, or the thing itself; `/a` has nothing to do with `/ab`. */
const below = (path: string, prefix: string): boolean =>
  prefix === '' || path === prefix || path.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`);
