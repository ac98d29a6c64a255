/**
 * Picture path: what a client asks imgproxy for, taken apart as imgproxy does it (options/parser/url.go,
 * handlers/path.go), and put together anew. Only the new path is signed and sent: its source stands in it as one part
 * of base64url, so there is one way to read it, whatever the client wrote.
 *
 *   /<signature or unsafe, or nothing>/<option:argument:...>/.../plain/<source, percent-encoded>@<extension>
 *   /<...>/<options>/<source as base64url, in parts>.<extension>
 *
 * Everything that is not understood is refused: encrypted sources (enc/), chained pipelines (-), info, unknown options.
 */
import { expiryOptions, formatOptions, optionProblem } from './processing-options.ts';

export interface Picture {
  /** Without a signature: `/rs:fit:300:200/bG9jYWw6....webp`. */
  readonly path: string;
  /** What stands in it before and behind the source. */
  readonly options: string;
  readonly suffix: string;
  readonly source: string;
  /** The client has chosen the format, so that Accept changes nothing. */
  readonly formatted: boolean;
  /** Ms since 1970 from which on imgproxy refuses it. */
  readonly expiresAtMs: number;
}

/** `forbidden`: 403; else it is no picture path (400). */
export interface Unreadable {
  readonly reason: string;
  readonly forbidden: boolean;
}

const PATH_LENGTH_MAX = 8192;
const OPTIONS_MAX = 64;
/** Words that stand where imgproxy expects a signature. */
const unsigned: ReadonlySet<string> = new Set(['unsafe', 'insecure', '_']);
const SIGNATURE = /^[\w-]{1,86}={0,2}$/;
/** What arguments are written with; none of it begins a new part, and a percent sign begins no colon. */
const ARGUMENTS = /^(?:[\w.\-+=,~!*:]|%(?!3a|2f|00)[0-9a-f]{2})*$/i;
const EXTENSION = /^[a-z0-9]{1,10}$/;
const BASE64URL = /^[\w-]+$/;
const BROKEN_SLASHES = /^([a-z][a-z0-9+.-]*):\/([^/])/i;
/** Control characters, spaces at the ends and lone surrogates: no source needs them, and parsers differ about them. */
const UNFIT = /[\u0000-\u001f\u007f\\\ufffd]|^\s|\s$/;

const unreadable = (reason: string): Unreadable => ({ reason, forbidden: false });
const forbidden = (reason: string): Unreadable => ({ reason, forbidden: true });

/** `path`: as the client sent it, without the query. */
export function readPicture(path: string): Picture | Unreadable {
  if (path.length > PATH_LENGTH_MAX)
    return unreadable(`the path must have at most ${PATH_LENGTH_MAX} characters: found=${path.length}`);
  const parts = path.slice(1).split('/');
  dropSignature(parts);
  if (parts[0] === 'info') return forbidden('the info endpoint is not served');
  const options: string[] = [];
  let formatted = false;
  let expiresAtMs = Number.POSITIVE_INFINITY;
  let at = 0;
  for (; at < parts.length; at++) {
    const option = parts[at]!.replaceAll('%3A', ':');
    const colon = option.indexOf(':');
    if (colon < 0) break;
    const [name, argument] = [option.slice(0, colon), option.slice(colon + 1)];
    const problem = optionProblem(name);
    if (problem !== undefined) return forbidden(problem);
    if (!ARGUMENTS.test(argument))
      return unreadable(`an argument of ${name} has a character that imgproxy does not take`);
    if (formatOptions.has(name) && argument !== '') formatted = argument !== 'best';
    if (expiryOptions.has(name)) expiresAtMs = /^\d{1,12}$/.test(argument) ? Number(argument) * 1000 : 0;
    options.push(option);
  }
  if (options.length > OPTIONS_MAX)
    return unreadable(`at most ${OPTIONS_MAX} options may be given: found=${options.length}`);
  const found = sourceOf(parts.slice(at));
  if ('reason' in found) return found;
  const { source, extension } = found;
  if (extension !== '') formatted = extension !== 'best';
  const around = {
    options: options.map((option) => `/${option}`).join(''),
    suffix: extension === '' ? '' : `.${extension}`,
  };
  return { path: pathOf(around, source), ...around, source, formatted, expiresAtMs };
}

/** The path of a picture with another spelling of its source. */
export const pathOf = ({ options, suffix }: Pick<Picture, 'options' | 'suffix'>, source: string): string =>
  `${options}/${Buffer.from(source).toString('base64url')}${suffix}`;

/** The signature of the client counts for nothing: the gateway makes its own. */
function dropSignature(parts: string[]): void {
  const [first = '', second = ''] = parts;
  if (unsigned.has(first)) parts.shift();
  else if (first !== 'plain' && first !== 'info' && first !== 'enc' && parts.length > 1 && SIGNATURE.test(first))
    if (second === 'plain' || second === 'enc' || second.includes(':') || second.includes('%3A'))
      // A first part of base64 may be a signature or the beginning of a source; what stands behind it tells.
      parts.shift();
}

function sourceOf(parts: readonly string[]): { readonly source: string; readonly extension: string } | Unreadable {
  const [first = ''] = parts;
  if (first === 'enc') return forbidden('an encrypted source cannot be looked into');
  if (first === '-') return forbidden('chained pipelines are not served');
  const plain = first === 'plain' && parts.length > 1;
  const [encoded = '', extension = '', more] = plain
    ? parts.slice(1).join('/').split('@')
    : parts
        .join('')
        .replace(/=+(?=\.|$)/, '')
        .split('.');
  if (more !== undefined) return unreadable('a path must name one extension at most');
  if (encoded === '') return unreadable('a path must name a source');
  if (extension !== '' && !EXTENSION.test(extension)) return unreadable('an extension must be a word like webp');
  const source = plain ? decodedPlain(encoded) : decodedBase64(encoded);
  if (source === undefined) return unreadable('the source must be percent-encoded behind plain/, or base64url');
  return UNFIT.test(source)
    ? forbidden('a source must have no control characters and no backslashes')
    : { source, extension };
}

function decodedPlain(encoded: string): string | undefined {
  try {
    const source = decodeURIComponent(encoded);
    // Proxies make one slash of two, and imgproxy makes them two again (handlers/path.go).
    return source.replace(BROKEN_SLASHES, (_, scheme: string, next: string) =>
      scheme === 'local' ? `local:///${next}` : `${scheme}://${next}`,
    );
  } catch {
    return undefined;
  }
}

function decodedBase64(encoded: string): string | undefined {
  if (!BASE64URL.test(encoded)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(encoded, 'base64url'));
  } catch {
    return undefined;
  }
}
