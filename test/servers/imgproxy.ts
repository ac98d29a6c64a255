/**
 * A stand-in for imgproxy, as a process of its own: its path syntax, its signature, /health, and pictures made by sharp
 * from local:/// below a root. It is asked over HTTP to be slow or wrong, and it counts what was asked of it.
 *
 *   node test/servers/imgproxy.ts '{"port": 24450, "root": "uploads", "key": "<hex>", "salt": "<hex>"}'
 *   PUT /stand-in/faults   a Faults object; what is left out is as it should be
 *   GET /stand-in/counts   a Counts object
 *
 * IMGPROXY_URL names a real one, whose root must be the folder that a test uses; faults are not tested with it.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import sharp, { type FormatEnum } from 'sharp';
import { ServerProcess, type TestScope, temporaryFolder } from './process.ts';

export interface ImgproxyOptions {
  readonly port: number;
  /** IMGPROXY_LOCAL_FILESYSTEM_ROOT. */
  readonly root: string;
  /** IMGPROXY_KEY and IMGPROXY_SALT, hexadecimal; left out: signatures are not looked at. */
  readonly key?: string;
  readonly salt?: string;
  /** IMGPROXY_SECRET: asked for as a Bearer token. */
  readonly secret?: string;
  /** IMGPROXY_MAX_REDIRECTS; left out: it fetches from no server. */
  readonly redirects?: number;
  /** IMGPROXY_AUTO_WEBP and IMGPROXY_AUTO_AVIF: without a format it goes by Accept. */
  readonly auto?: boolean;
}

export interface Faults {
  /** Before the head of an answer. */
  readonly delayMs?: number;
  /** An answer that is made waits until other faults are set. */
  readonly held?: boolean;
  /** Answers with this status, `headers`, and no picture. */
  readonly status?: number;
  /** half-open: takes the request and never says a word. reset: closes the connection. short: announces more than it
   * sends, and closes. stall: sends half of the body, then nothing. garbage: answers in no HTTP. chunked: without a length. */
  readonly way?: 'half-open' | 'reset' | 'short' | 'stall' | 'garbage' | 'chunked';
  /** Also for /health. */
  readonly health?: number;
  /** Headers in place of its own; null: without it. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** Sends a body of so many bytes instead of a picture. */
  readonly bytes?: number;
}

export interface Counts {
  readonly requests: number;
  readonly checks: number;
  readonly refused: number;
  /** Answers that wait now. */
  readonly held: number;
  readonly byPath: Readonly<Record<string, number>>;
  readonly lastHeaders: IncomingMessage['headers'];
}

interface Picture {
  readonly source: string;
  readonly format: string | undefined;
  readonly options: ReadonlyMap<string, readonly string[]>;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Splits what stands behind the signature, as imgproxy 3 and 4 do (options/parser/url.go). */
function parse(path: string): Picture {
  const parts = path.split('/');
  const options = new Map<string, readonly string[]>();
  while (parts.length > 0 && parts[0]!.includes(':')) {
    const [name = '', ...args] = parts.shift()!.split(':');
    options.set(name, args);
  }
  if (parts[0] === 'plain' && parts.length > 1) {
    const [source = '', format, more] = parts.slice(1).join('/').split('@');
    if (source === '' || more !== undefined) throw new Refusal(404, 'Invalid URL');
    return { source: decodeURIComponent(source), format: format || undefined, options };
  }
  const [encoded = '', format, more] = parts.join('').split('.');
  if (!/^[\w-]+=*$/.test(encoded) || more !== undefined) throw new Refusal(404, 'Invalid URL');
  return { source: Buffer.from(encoded, 'base64url').toString(), format: format || undefined, options };
}

function checkSignature(signature: string, path: string, { key, salt }: ImgproxyOptions): void {
  if (key === undefined || salt === undefined) {
    if (signature.includes(':')) throw new Refusal(403, 'Malformed signature');
    return;
  }
  const mac = createHmac('sha256', Buffer.from(key, 'hex'))
    .update(Buffer.from(salt, 'hex'))
    .update(`/${path}`)
    .digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== mac.length || !timingSafeEqual(given, mac)) throw new Refusal(403, 'Invalid signature');
}

const number = (text: string | undefined): number | undefined => (text ? Number(text) : undefined) || undefined;
const fits: Readonly<Record<string, 'inside' | 'cover' | 'fill'>> = { fit: 'inside', fill: 'cover', force: 'fill' };

async function bytesOf(source: string, { root, redirects }: ImgproxyOptions): Promise<Buffer> {
  if (source.startsWith('local:///'))
    return readFile(join(root, normalize(decodeURIComponent(source.slice('local://'.length)))));
  if (redirects === undefined) throw new Error('no source');
  const answer = await fetch(source, { redirect: redirects > 0 ? 'follow' : 'error' });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}

async function render({ options, format, source }: Picture, accept: string, config: ImgproxyOptions) {
  const file = await bytesOf(source, config).catch(() => {
    throw new Refusal(404, 'Source image is unreachable');
  });
  const of = (...names: string[]) => names.map((one) => options.get(one)).find((args) => args !== undefined);
  const resize = of('resize', 'rs') ?? [];
  const size = of('size', 's') ?? resize.slice(1);
  const width = number(of('width', 'w')?.[0] ?? size[0]);
  const height = number(of('height', 'h')?.[0] ?? size[1]);
  const type = of('resizing_type', 'rt')?.[0] ?? resize[0] ?? 'fit';
  const wanted = of('format', 'f', 'ext')?.[0] ?? format;
  const auto = /image\/avif/.test(accept) ? 'avif' : /image\/webp/.test(accept) ? 'webp' : undefined;
  const image = sharp(file, { animated: false });
  const { format: own } = await image.metadata().catch(() => {
    throw new Refusal(422, 'Broken or unsupported image');
  });
  const output = (wanted ?? (config.auto ? auto : undefined) ?? own ?? 'jpeg').replace(
    'jpg',
    'jpeg',
  ) as keyof FormatEnum;
  const quality = number(of('quality', 'q')?.[0]) ?? 80;
  if (width !== undefined || height !== undefined)
    image.resize(width, height, { fit: fits[type] ?? 'inside', withoutEnlargement: size[2] !== '1' });
  const body = await image.toFormat(output, { quality }).toBuffer();
  return { body, type: `image/${output}` };
}

function serve(config: ImgproxyOptions): void {
  let faults: Faults = {};
  let held: (() => void)[] = [];
  const count = { requests: 0, checks: 0, refused: 0, held: 0, byPath: {} as Record<string, number>, lastHeaders: {} };

  async function picture(req: IncomingMessage, res: ServerResponse): Promise<void> {
    count.requests++;
    count.lastHeaders = req.headers;
    // Those of the moment it was asked: a refresh that is still being made must not mix two of a test's steps.
    const asked = faults;
    const [url = ''] = req.url!.split('?', 1);
    count.byPath[url] = (count.byPath[url] ?? 0) + 1;
    if (asked.way === 'half-open') return;
    if (asked.delayMs !== undefined) await sleep(asked.delayMs);
    if (asked.way === 'reset') return void req.socket.destroy();
    if (asked.way === 'garbage') return void req.socket.end('this is not HTTP\r\n\r\n');
    if (asked.status !== undefined)
      return void res.writeHead(asked.status, { 'Content-Type': 'text/plain', ...asked.headers }).end('fault');
    if (config.secret !== undefined && req.headers.authorization !== `Bearer ${config.secret}`)
      throw new Refusal(403, 'Invalid secret');
    // imgproxy answers HEAD without looking at the picture.
    if (req.method === 'HEAD') return void res.writeHead(200).end();
    const [, signature = '', path = ''] = /^\/([^/]*)\/(.*)$/s.exec(url) ?? [];
    if (signature === '' || path === '') throw new Refusal(404, 'Invalid path');
    checkSignature(signature, path, config);
    const parsed = parse(path.replaceAll('%3A', ':'));
    const made =
      asked.bytes === undefined
        ? await render(parsed, req.headers.accept ?? '', config)
        : { body: Buffer.alloc(asked.bytes, 7), type: 'image/jpeg' };
    const { body } = made;
    if (asked.held) {
      count.held++;
      await new Promise<void>((resolve) => held.push(resolve));
      count.held--;
    }
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
    const headers: Record<string, string> = {
      'Content-Type': made.type,
      'Cache-Control': 'public, max-age=31536000',
      ETag: etag,
      Server: 'imgproxy',
      'Content-Length': String(body.length),
      ...(config.auto ? { Vary: 'Accept' } : {}),
    };
    for (const [name, value] of Object.entries(asked.headers ?? {}))
      if (value === null) delete headers[name];
      else headers[name] = value;
    if (asked.way === 'chunked') delete headers['Content-Length'];
    if (asked.way === 'short') headers['Content-Length'] = String(body.length + 1000);
    if (req.headers['if-none-match'] === etag) {
      delete headers['Content-Length'];
      return void res.writeHead(304, headers).end();
    }
    res.writeHead(200, headers);
    if (asked.way === 'short') res.write(body, () => req.socket.destroy());
    else if (asked.way === 'stall') res.write(body.subarray(0, body.length / 2));
    else res.end(body);
  }

  async function control(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.url === '/stand-in/counts') return void res.end(JSON.stringify(count satisfies Counts));
    let text = '';
    for await (const piece of req) text += piece;
    faults = JSON.parse(text) as Faults;
    const waiting = held;
    held = [];
    for (const go of waiting) go();
    res.writeHead(204).end();
  }

  const server = createServer({ keepAliveTimeout: 10_000 }, (req, res) => {
    const fail = (error: unknown) => {
      const status = error instanceof Refusal ? error.status : 500;
      if (status === 403) count.refused++;
      if (!res.headersSent) res.writeHead(status, { 'Content-Type': 'text/plain' });
      res.end((error as Error).message);
    };
    if (req.url === '/health') {
      count.checks++;
      if (faults.way !== 'half-open') res.writeHead(faults.health ?? 200).end('imgproxy is running');
    } else if (req.url!.startsWith('/stand-in/')) void control(req, res).catch(fail);
    else void picture(req, res).catch(fail);
  });
  server.listen(config.port, '127.0.0.1');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve(JSON.parse(process.argv[2]!) as ImgproxyOptions);

export interface Imgproxy {
  readonly url: string;
  readonly process: ServerProcess | undefined;
  faults(faults: Faults): Promise<void>;
  counts(): Promise<Counts>;
}

/** Starts one and waits until it is up; IMGPROXY_URL: takes that one. */
export async function startImgproxy(t: TestScope, options: ImgproxyOptions): Promise<Imgproxy> {
  const real = process.env['IMGPROXY_URL'];
  const url = real ?? `http://127.0.0.1:${options.port}`;
  let server: ServerProcess | undefined;
  if (real === undefined) {
    const { folder, remove } = temporaryFolder('ringmain-imgproxy-');
    const words = [fileURLToPath(import.meta.url), JSON.stringify(options)];
    const started = new ServerProcess(process.execPath, words, { cwd: folder }, folder);
    server = started;
    t.onTestFinished(async () => {
      await started.end('SIGKILL');
      remove();
    });
    await started.until(async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true, 180_000);
  }
  return {
    url,
    process: server,
    async faults(faults) {
      const { status } = await fetch(`${url}/stand-in/faults`, { method: 'PUT', body: JSON.stringify(faults) });
      if (status !== 204) throw new Error(`the stand-in must take faults: status=${status}`);
    },
    counts: async () => (await (await fetch(`${url}/stand-in/counts`)).json()) as Counts,
  };
}

/** A picture of noise, which no format makes small. */
export async function noisePicture(
  width: number,
  height: number,
  format: 'jpeg' | 'png' | 'webp' = 'jpeg',
): Promise<Buffer> {
  const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
  return sharp({ create: { width, height, channels: 3, background: '#777', noise } })
    .toFormat(format)
    .toBuffer();
}
