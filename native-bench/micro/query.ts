/**
 * What does the query of a pixel cost, split, decoded and filed under the event model, without making a line of it? The queries are those
 * of all rows of PERFORMANCE.md: ten parameters, a page URL and an umlaut percent-encoded; 1,024 different ones in turn. The reader decodes
 * in place, so each run has to bring the bytes there first, as the encoder has to: its row includes the second limit.
 */
import { parse } from 'node:querystring';
import { SLACK, viewOf } from '../../src/events/json-text.ts';
import { QUERY_END, QueryReader } from '../../src/events/query-reader.ts';
import { type Case, micro } from '../rig/micro.ts';
import { pixelRequests } from '../rig/request.ts';

const queries = pixelRequests().map(({ path }) => path.slice(path.indexOf('?') + 1));
const bytes = queries.map((query) => Buffer.from(query));
const scratch = Buffer.allocUnsafeSlow(4096 + SLACK);
const view = viewOf(scratch);
const reader = new QueryReader();

const each = (work: (query: string, index: number) => unknown) => (): number => {
  queries.forEach(work);
  return queries.length;
};
let found = 0; // kept, so that no pair can be optimised away

const cases: Case[] = [
  { name: 'copy of its bytes', kind: 'limit', run: each((_, index) => bytes[index]!.copy(scratch)) },
  { name: 'string into a buffer', kind: 'limit', run: each((query) => scratch.write(query, 0, 'utf8')) },
  {
    name: 'QueryReader, the string brought into a buffer first',
    run: each((query) => {
      const end = scratch.write(query, 0, 'utf8');
      scratch[end] = QUERY_END;
      reader.reset();
      reader.read(scratch, view, 0, end);
      found += reader.rest.names.count;
    }),
  },
  {
    name: 'URLSearchParams, every pair looked at',
    kind: 'peer',
    run: each((query) => {
      for (const [name, value] of new URLSearchParams(query)) found += name.length + value.length;
    }),
  },
  {
    name: 'node:querystring, every pair looked at',
    kind: 'peer',
    run: each((query) => {
      for (const [name, value] of Object.entries(parse(query))) found += name.length + (value?.length ?? 0);
    }),
  },
];
const mean = Math.round(bytes.reduce((sum, { length }) => sum + length, 0) / bytes.length);
await micro({ asks: `What does the query of a pixel cost (${mean} bytes, ten parameters)?`, unit: 'query', cases });
if (found === 0) throw new Error('nothing was parsed');
