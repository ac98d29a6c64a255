/**
 * Uploads: POST, GET /api/v1/upload; GET, DELETE /api/v1/upload/:id. The 200 of a POST says that file and rows are
 * durable; the same picture of the same user is one upload, whoever else has it.
 */
import type { HttpRequest } from 'uWebSockets.js';
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { httpErrors } from '../../http/errors.ts';
import { serializerOf } from '../../http/json.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { DATABASE_WORKER } from '../../service/database/questions.ts';
import { serviceErrors } from '../../service/errors.ts';
import { checksOf } from '../../service/openapi/validation.ts';
import { openApi } from '../admin/openapi/document.ts';
import { uploadPageSchema, uploadSchema } from '../admin/openapi/schemas.ts';
import type { Area } from '../area.ts';
import type { BodyFlow, Exchange } from '../front/exchange.ts';
import type { Guard } from '../front/guard.ts';
import type { GatewayValues } from '../gateway.ts';
import { FORM_BYTES_MAX, Form } from './form.ts';
import { ASK_MS_MAX, type ListQuestion, UPLOADS_AREA, type Upload } from './questions.ts';
import { Receiver } from './receive.ts';
import { pathOf, TEMPORARY } from './store.ts';

interface Shown extends Omit<Upload, 'path' | 'createdAt'> {
  readonly url: string;
  readonly urls: Readonly<Record<string, string>>;
  readonly created_at: string;
}

const uploadBody = serializerOf<Shown>(uploadSchema);
const pageBody = serializerOf<{ readonly items: readonly Shown[]; readonly next: string | null }>(uploadPageSchema);
const refuse = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });

/** Paths of pictures at this gateway. */
function shown({ path, createdAt, ...upload }: Upload): Shown {
  const source = `plain/local:///${path}`;
  return {
    ...upload,
    url: `/${source}`,
    urls: {
      thumb: `/rs:fit:300:300/${source}@webp`,
      medium: `/rs:fit:1200:1200/${source}@webp`,
    },
    created_at: createdAt,
  };
}

type Frame = Pick<AcceptorFrame<GatewayValues>, 'values' | 'ask'>;

export function openUploads({ values, ask }: Frame, guard: Guard): Area {
  const { uploadDir: folder, uploadMaxBytes: bytesMax, uploadMaxPixels: pixelsMax } = values.gateway;
  const question = <T>(what: string, input: unknown): Promise<T> =>
    ask(
      DATABASE_WORKER,
      { area: UPLOADS_AREA, what, input },
      ASK_MS_MAX,
      what === 'list' || what === 'one' ? 'reads' : 'changes',
    ) as Promise<T>;

  const keep = async (exchange: Exchange, receiver: Receiver, strip: boolean): Promise<void> => {
    const received = await receiver.finish(strip);
    const { sha256, format } = received;
    const kept = { ...received, id: randomUUID(), userId: exchange.user!.id, path: pathOf(sha256, format) };
    try {
      exchange.json(200, uploadBody(shown(await question<Upload>('keep', kept))));
    } catch (error) {
      await rm(join(folder, TEMPORARY, received.temporary), { force: true });
      throw error;
    }
  };

  const post = guard.route({ route: 'upload', scope: 'upload', takesBody: true }, (exchange, req) => {
    const type = req.getHeader('content-type');
    const strip = stripOf(new URLSearchParams(req.getQuery() ?? '').get('strip'));
    const receiver = new Receiver({ folder, pixelsMax });
    const end = (strips: boolean): void => {
      keep(exchange, receiver, strips).catch((error: unknown) => exchange.fail(error));
    };
    const fail = (error: unknown): void => {
      void receiver.drop();
      exchange.fail(error);
    };
    try {
      if (/^multipart\/form-data\b/i.test(type))
        receiveForm(exchange, req, { type, bytesMax, receiver, strip, end, fail });
      else receiveRaw(exchange, req, { bytesMax, receiver, end: () => end(strip), fail });
    } catch (error) {
      fail(error);
    }
  });

  const parametersOf = {
    list: checksOf(openApi, 'listUploads').parameters,
    one: checksOf(openApi, 'getUpload').parameters,
  };
  const list = guard.route({ route: 'uploads', scope: 'read' }, async (exchange, req) => {
    const given = new URLSearchParams(req.getQuery() ?? '');
    const { limit = 100, cursor } = parametersOf.list(given) as { readonly limit?: number; readonly cursor?: string };
    const input: ListQuestion = { userId: exchange.user!.id, limit: limit + 1, after: afterOf(cursor) };
    const found = await question<readonly Upload[]>('list', input);
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    const next = last === undefined ? null : Buffer.from(`${last.createdAt} ${last.id}`).toString('base64url');
    exchange.json(200, pageBody({ items: items.map(shown), next }));
  });
  const idOf = (req: HttpRequest): string => {
    const { id } = parametersOf.one([['id', req.getParameter(0) ?? '']]) as { readonly id: string };
    return id.toLowerCase();
  };
  const get = guard.route({ route: 'uploads', scope: 'read' }, async (exchange, req) => {
    const input = { userId: exchange.user!.id, id: idOf(req) };
    exchange.json(200, uploadBody(shown(await question<Upload>('one', input))));
  });
  const remove = guard.route({ route: 'uploads', scope: 'upload', outsideQuota: true }, async (exchange, req) => {
    await question('remove', { userId: exchange.user!.id, id: idOf(req) });
    exchange.answer(204, []);
  });
  const { cors } = guard;
  return {
    routes: [
      { name: 'upload', path: '/api/v1/upload', cors, takesBody: true, on: { POST: post } },
      { name: 'uploads', path: '/api/v1/upload', cors, streams: true, on: { GET: list } },
      { name: 'uploads', path: '/api/v1/upload/:id', cors, on: { GET: get, DELETE: remove } },
    ],
  };
}

function stripOf(text: string | null): boolean {
  if (text === null || text === '') return false;
  if (text === 'location') return true;
  throw refuse(`strip must be location: found=${text.slice(0, 100)}`);
}

function afterOf(cursor: string | undefined): ListQuestion['after'] {
  if (cursor === undefined) return undefined;
  const [, createdAt, id] =
    /^(\d{4}-\d\d-\d\dT[\d:.]+Z) ([0-9a-f-]{36})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (createdAt === undefined || id === undefined) throw refuse('cursor must be `next` of the page before');
  return { createdAt, id };
}

interface Receiving {
  readonly bytesMax: number;
  readonly receiver: Receiver;
  readonly fail: (error: unknown) => void;
}

function receiveRaw(
  exchange: Exchange,
  req: HttpRequest,
  { bytesMax, receiver, end, fail }: Receiving & { end(): void },
): void {
  const flow: BodyFlow = exchange.receive(req, bytesMax, {
    chunk(bytes) {
      try {
        if (receiver.write(bytes)) return true;
        receiver.onRoom(() => flow.resume());
        return false;
      } catch (error) {
        fail(error);
        return true;
      }
    },
    end,
    failed: () => void receiver.drop(),
  });
}

function receiveForm(
  exchange: Exchange,
  req: HttpRequest,
  parts: Receiving & { readonly type: string; readonly strip: boolean; end(strip: boolean): void },
): void {
  const { type, bytesMax, receiver, end } = parts;
  let { strip } = parts;
  const fail = (error: unknown): void => {
    form.drop();
    parts.fail(error);
  };
  const form = new Form(type, {
    chunk(bytes) {
      try {
        const found = receiver.bytes + bytes.length;
        if (found > bytesMax) throw httpErrors.BODY_TOO_LARGE({ bytes: found, limit: bytesMax });
        if (receiver.write(bytes)) return true;
        receiver.onRoom(() => form.resume());
        return false;
      } catch (error) {
        fail(error);
        return true;
      }
    },
    field(name, value) {
      if (name !== 'strip') return;
      try {
        strip = stripOf(value);
      } catch (error) {
        fail(error);
      }
    },
    end: () => end(strip),
    failed: fail,
  });
  const flow: BodyFlow = exchange.receive(req, bytesMax + FORM_BYTES_MAX, {
    chunk(bytes) {
      if (form.write(bytes)) return true;
      form.drained(() => flow.resume());
      return false;
    },
    end: () => form.end(),
    failed() {
      form.drop();
      void receiver.drop();
    },
  });
}
