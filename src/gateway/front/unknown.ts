/**
 * Unknown: what no route takes, behind the guard like any other request, so that it is limited, recorded and counted.
 * Pictures are asked for by GET and HEAD (images/); here are the other methods of every path.
 */
import { shown } from '../../http/answer.ts';
import { httpErrors } from '../../http/errors.ts';
import type { Area } from '../area.ts';
import type { Guard } from './guard.ts';

const PICTURES = 'GET, HEAD';

export function openUnknown(guard: Guard): Area {
  const refuse = guard.route({ route: 'unknown', scope: 'read' }, (exchange) => {
    const [path = ''] = exchange.target.split('?', 1);
    if (path.startsWith('/api/')) exchange.problem(httpErrors.NOT_FOUND, { path: shown(path) });
    else
      exchange.problem(httpErrors.METHOD_NOT_ALLOWED, { method: exchange.method, allow: PICTURES }, [
        ['Allow', PICTURES],
      ]);
  });
  const on = { POST: refuse, PUT: refuse, PATCH: refuse, DELETE: refuse };
  return { routes: [{ name: 'unknown', path: '/*', cors: guard.cors, on }] };
}
