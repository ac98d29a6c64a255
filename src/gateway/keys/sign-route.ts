/**
 * POST /api/v1/sign {path, expires_s}: signs the path of a picture by the key that asks, so that a browser may get it
 * without one. Whose picture it is, is looked at when it is asked for.
 */
import { serializerOf } from '../../http/json.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import { serviceErrors } from '../../service/errors.ts';
import { checksOf } from '../../service/openapi/validation.ts';
import { openApi } from '../admin/openapi/document.ts';
import { signedSchema } from '../admin/openapi/schemas.ts';
import type { Area } from '../area.ts';
import { gatewayErrors } from '../errors.ts';
import type { Guard } from '../front/guard.ts';
import type { GatewayValues } from '../gateway.ts';
import { pictureProblem, Sources } from '../images/sources.ts';
import { signingKeyOf, signTarget, targetProblem } from './signing.ts';

const signedBody = serializerOf<{ readonly url: string }>(signedSchema);

interface Asked {
  readonly path: string;
  readonly expires_s: number;
}

const refuse = (reason: string): Error => serviceErrors.INPUT_REFUSED({ reason });

type Frame = Pick<AcceptorFrame<GatewayValues>, 'values' | 'now'>;

export function openSign({ values, now }: Frame, guard: Guard): Area {
  const { signedUrlMaxAgeMs, allowedSources } = values.gateway;
  const sources = new Sources(allowedSources);
  // The start is refused without a pepper.
  const pepper = values.access.keyPepper ?? '';
  const mostS = Math.floor(signedUrlMaxAgeMs / 1000);
  const { body: check } = checksOf(openApi, 'sign');
  const sign = guard.route({ route: 'sign', scope: 'upload', takesBody: true }, async (exchange, req) => {
    // The key that asks; after the await it may have been rotated.
    const { id, secrets, scopes } = exchange.key!;
    // Nobody would be served by its URL.
    if (!scopes.includes('read')) throw gatewayErrors.SCOPE_MISSING({ scope: 'read' });
    const { path, expires_s: expiresS } = check(await exchange.jsonBody(req)) as Asked;
    const problem = targetProblem(path);
    if (problem !== undefined) throw refuse(problem);
    const noPicture = pictureProblem(path.split('?', 1)[0]!, sources);
    if (noPicture !== undefined) throw refuse(noPicture);
    if (expiresS > mostS) throw refuse(`expires_s must be at most ${mostS}: found=${expiresS}`);
    const url = signTarget(
      signingKeyOf(pepper, id, secrets[0]!.version),
      id,
      path,
      Math.floor(now() / 1000) + expiresS,
    );
    exchange.json(200, signedBody({ url }));
  });
  return { routes: [{ name: 'sign', path: '/api/v1/sign', cors: guard.cors, takesBody: true, on: { POST: sign } }] };
}
