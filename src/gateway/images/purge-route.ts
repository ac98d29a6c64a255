/**
 * POST /api/v1/purge {path | prefix}: what is cached of a source is served no more, in every process within a second.
 * Users purge their own uploads; administrators any source, and all sources that begin with a prefix.
 */
import type { AcceptorFrame } from '../../service/contract.ts';
import { DATABASE_WORKER, type Question } from '../../service/database/questions.ts';
import { checksOf } from '../../service/openapi/validation.ts';
import { openApi } from '../admin/openapi/document.ts';
import { gatewayErrors } from '../errors.ts';
import type { Exchange, ExchangeHandler } from '../front/exchange.ts';
import { IMAGES_AREA, type PurgeInput } from './answers.ts';
import type { Ownership } from './ownership.ts';
import { placeOf, purgeOfPath, purgeOfPrefix } from './purge-input.ts';
import type { Sources } from './sources.ts';

const ASK_MS_MAX = 12_000;

interface Asked {
  readonly path?: string;
  readonly prefix?: string;
}

export function purgeHandler(ask: AcceptorFrame['ask'], sources: Sources, ownership: Ownership): ExchangeHandler {
  const { body } = checksOf(openApi, 'purge');

  async function inputOf({ user, administrator }: Exchange, { path = '', prefix }: Asked): Promise<PurgeInput> {
    if (prefix !== undefined) {
      if (!administrator) throw gatewayErrors.SOURCE_FORBIDDEN({ reason: 'only administrators purge a prefix' });
      return purgeOfPrefix(prefix);
    }
    if (administrator || user === undefined) return purgeOfPath(path, sources);
    const place = placeOf(path, sources);
    if (place.kind === 'forbidden') throw gatewayErrors.SOURCE_FORBIDDEN({ reason: place.reason });
    if (place.kind !== 'upload' || !(await ownership.owns(user.id, place.path)))
      throw gatewayErrors.SOURCE_FORBIDDEN({ reason: 'a key purges the uploads of its own user' });
    return { source: place.source, prefix: false };
  }

  return async (exchange, req) => {
    const asked = body(await exchange.jsonBody(req)) as Asked;
    const question: Question = { area: IMAGES_AREA, what: 'purge', input: await inputOf(exchange, asked) };
    await ask(DATABASE_WORKER, question, ASK_MS_MAX, 'changes');
    exchange.answer(202, []);
  };
}
