/** Routes of the toy: one that publishes, one that waits for a worker, one with a wildcard. */
import { commitRecord } from '../../../src/events/service-record.ts';
import { httpErrors } from '../../../src/http/errors.ts';
import { serializerOf } from '../../../src/http/json.ts';
import { later } from '../../../src/http/reply.ts';
import type { Acceptor } from '../../../src/service/contract.ts';
import { store } from '../../../src/service/intake.ts';

type Note = { readonly id: string; readonly text: string };
const noteBody = serializerOf<Note>({ type: 'object', additionalProperties: { type: 'string' } });
export default {
  open({ intake, bodies, ask, now }) {
    const take = later(async (reply, req) => {
      const { id, text } = ((await reply.jsonBody(req, bodies)) ?? {}) as Partial<Note>;
      if (typeof id !== 'string' || typeof text !== 'string') throw httpErrors.BAD_REQUEST({ reason: 'not a note' });
      const note = { id, text };
      const record = { kind: 16, key: Buffer.from(id), line: Buffer.from(noteBody(note)), receivedMs: now() };
      await store(intake, (draft) => commitRecord(draft, record), 'journal');
      reply.json(202, noteBody, note);
    });
    const echo = later((reply, req) => reply.bytes(200, 'text/plain', req.getUrl()));
    const show = later(async (reply, req) => {
      const id = req.getParameter(0) ?? '';
      const note = (await ask('reader', id, 2000, 'reads')) as Note | undefined;
      if (note === undefined) throw httpErrors.NOT_FOUND({ path: `/notes/${id}` });
      reply.json(200, noteBody, note);
    });
    return {
      routes: [
        { name: 'notes', path: '/notes', takesBody: true as const, on: { POST: take } },
        { name: 'note', path: '/notes/:id', on: { GET: show } },
        { name: 'echo', path: '/echo/*', on: { GET: echo } },
      ],
    };
  },
} satisfies Acceptor;
