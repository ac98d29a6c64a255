/** Operations of administrators on backends: rows of the database, and how each of them stands in this process. */

import { serializerOf } from '../../http/json.ts';
import { backendListSchema, backendSchema } from '../admin/openapi/schemas.ts';
import type { Given, Operations } from '../admin/routes.ts';
import type { adminOf } from '../database/admin/answers.ts';
import type { BackendChange, BackendView, NewBackend } from '../database/admin/contract.ts';
import type { BackendTable } from './backend-table.ts';
import { type BackendStanding, standingOf } from './health.ts';

type Shown = BackendView & BackendStanding;

const backendBody = serializerOf<Shown>(backendSchema);
const backendsBody = serializerOf<{ readonly items: readonly Shown[] }>(backendListSchema);

const fresh: BackendStanding = { state: 'new', reason: null, breaker: 'closed', in_flight: 0 };

/** The row as it is now, with the state of its slot. */
function shown(table: BackendTable, row: BackendView): Shown {
  const placed = table.placed.find(({ id, origin }) => id === row.id && origin === row.url);
  const standing = placed === undefined ? fresh : standingOf(table, placed.at);
  // What was changed a moment ago, the slot has not yet.
  if (row.draining) return { ...row, ...standing, state: 'draining' };
  return { ...row, ...standing, state: standing.state === 'draining' ? 'up' : standing.state };
}

export function backendOperations(ask: ReturnType<typeof adminOf>, table: BackendTable): Operations {
  const idOf = ({ parameters }: Given): number => parameters['id'] as number;
  return {
    listBackends: async () => {
      const rows = await ask('listBackends', {});
      return [200, backendsBody({ items: rows.map((row) => shown(table, row)) })];
    },
    addBackend: async ({ actor, body }) => {
      const row = await ask('addBackend', { actor, backend: body as NewBackend });
      return [201, backendBody(shown(table, row))];
    },
    changeBackend: async (given) => {
      const change = given.body as BackendChange;
      const row = await ask('changeBackend', { actor: given.actor, id: idOf(given), change });
      return [200, backendBody(shown(table, row))];
    },
    removeBackend: async (given) => {
      await ask('removeBackend', { actor: given.actor, id: idOf(given) });
      return [204];
    },
  };
}
