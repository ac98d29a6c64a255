/** Tool `ringmain gateway backend`: where pictures are made. Running gateways follow within a second (registry/). */
import { exitCodes } from '../../kernel/errors.ts';
import type { AnyService } from '../../service/contract.ts';
import { type DatabaseCommand, type DatabaseTool, exits, runDatabaseTool } from '../../service/tool/database-tool.ts';
import { given, json, numberOf, switchOf, usage } from '../../service/tool/flags.ts';
import { say, showList, showOne } from '../../service/tool/output.ts';
import { addBackend, changeBackend, listBackends, removeBackend } from '../database/admin/backends.ts';
import type { BackendView } from '../database/admin/contract.ts';
import { actor } from './parts.ts';

const settings = {
  name: { value: 'TEXT', text: 'what people call it; host and port by default' },
  weight: { value: 'N', text: 'its share of the requests, 0 to 1000; 0: none' },
};

const commands = {
  add: {
    takes: 'URL',
    words: [1, 1],
    summary: 'adds a backend',
    about: 'Adds an imgproxy by its address: http://host:port.',
    flags: { ...json, ...settings },
    exits: exits('added'),
    example: 'ringmain gateway backend add http://imgproxy-1:8080 --weight=2',
    run: add,
  },
  list: {
    takes: '',
    words: [0, 0],
    summary: 'lists the backends',
    about: 'Lists backends with their weights. How they are doing, a running gateway tells: GET /api/v1/backends.',
    flags: json,
    exits: exits('listed'),
    example: 'ringmain gateway backend list',
    run: list,
  },
  change: {
    takes: 'ID',
    words: [1, 1],
    summary: 'changes weight or name of a backend, or drains it',
    about: 'Changes what is given. A backend that drains takes no new request; those under way are finished.',
    flags: { ...settings, draining: { value: 'yes|no', text: 'whether it takes no new requests' } },
    exits: exits('changed'),
    example: 'ringmain gateway backend change 2 --draining=yes',
    run: change,
  },
  rm: {
    takes: 'ID',
    words: [1, 1],
    summary: 'removes a backend',
    about: 'Removes a backend; requests under way are finished. What it answered stays in the log.',
    exits: exits('removed'),
    example: 'ringmain gateway backend rm 2',
    run: remove,
  },
} satisfies Record<string, DatabaseCommand>;

export const runBackend = (service: AnyService, argv: readonly string[]): Promise<number> =>
  runDatabaseTool(
    service,
    {
      name: 'ringmain gateway backend',
      about: 'Says which imgproxies there are. Works beside running gateways, which follow within a second.',
      commands,
    },
    argv,
  );

function idOf(tool: DatabaseTool): number {
  const [text] = tool.words as [string];
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw usage(`a backend is named by its id, which ringmain gateway backend list shows: found=${text}`);
}

/** Name and weight, where they are given. */
const settingsOf = (tool: DatabaseTool) => given({ name: tool.flag('name'), weight: numberOf(tool, 'weight') });

const describe = ({ id, name, url, weight, draining }: BackendView): string =>
  `backend ${id}: ${name}, ${url}, weight ${weight}${draining ? ', draining' : ''}`;

async function add(tool: DatabaseTool): Promise<number> {
  const wanted = { url: tool.words[0]!, ...settingsOf(tool) };
  showOne(tool, await tool.onDatabase((link) => addBackend(link, actor, wanted)), describe);
  return exitCodes.ok;
}

async function list(tool: DatabaseTool): Promise<number> {
  showList(tool, await tool.onDatabase(listBackends), 'no backends', [
    ['ID', ({ id }) => String(id)],
    ['NAME', ({ name }) => name],
    ['URL', ({ url }) => url],
    ['WEIGHT', ({ weight }) => String(weight)],
    ['DRAINING', ({ draining }) => (draining ? 'yes' : 'no')],
    ['ADDED', ({ created_at }) => created_at],
  ]);
  return exitCodes.ok;
}

async function change(tool: DatabaseTool): Promise<number> {
  const wanted = { ...settingsOf(tool), ...given({ draining: switchOf(tool, 'draining') }) };
  if (Object.keys(wanted).length === 0) throw usage('one of --name, --weight and --draining must be given');
  const id = idOf(tool);
  say(describe(await tool.onDatabase((link) => changeBackend(link, actor, id, wanted))));
  return exitCodes.ok;
}

async function remove(tool: DatabaseTool): Promise<number> {
  const id = idOf(tool);
  await tool.onDatabase((link) => removeBackend(link, actor, id));
  say(`backend ${id} is removed`);
  return exitCodes.ok;
}
