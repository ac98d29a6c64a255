/** The page for administrators, at /admin: built files, which stand beside the guard and hold nothing secret. */
import { Assets } from '../../http/assets.ts';
import { later } from '../../http/reply.ts';
import type { Route } from '../../http/router.ts';

const NAME = 'web';

export function pageRoutes(): readonly Route[] {
  const enter = later((reply) => reply.empty(308, { Location: '/admin/' }));
  return [
    { name: NAME, path: '/admin', on: { GET: enter, HEAD: enter }, untraced: true },
    new Assets(new URL('../web/', import.meta.url)).route(NAME, '/admin/*'),
  ];
}
