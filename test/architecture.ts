/**
 * Architecture: the room table of the design as data, and a reader of imports that says where the source breaks it.
 * A new room is one line in `rooms`; a new library is one line in `libraries`.
 */
import { globSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';

/** Room -> the rooms it may import besides itself. `main.ts` imports everything and is imported by nothing. */
const below = ['sinks', 'access', 'delivery', 'events', 'engine', 'http', 'store', 'kernel'] as const;
const service = ['service', 'collect', 'visitor', ...below] as const;
export const rooms: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  engine: ['kernel'],
  http: ['kernel'],
  store: ['kernel'],
  events: ['kernel'],
  delivery: ['engine', 'events', 'store', 'kernel'],
  sinks: ['delivery', 'engine', 'events', 'store', 'kernel'],
  access: ['store', 'kernel'],
  visitor: ['http', 'events', 'kernel'],
  service: below,
  collect: ['service', 'visitor', ...below],
  pixel: service,
  analytics: service,
  gateway: service,
  sms: service,
};

/** Library -> the folders that may import it: what a library is for has one place. */
export const libraries: Readonly<Record<string, readonly string[]>> = {
  'uWebSockets.js': ['http', 'visitor', 'service', 'collect', 'analytics', 'gateway', 'sms'],
  pino: ['kernel'],
  'prom-client': ['kernel'],
  '@platformatic/kafka': ['store/kafka', 'sinks/kafka'],
  pg: ['store', 'sinks/postgres'],
  'pg-copy-streams': ['store', 'sinks/postgres'],
  '@opentelemetry/api': ['kernel', 'service'],
  '@opentelemetry/exporter-trace-otlp-proto': ['kernel', 'service'],
  '@opentelemetry/resources': ['kernel', 'service'],
  '@opentelemetry/sdk-trace': ['kernel', 'service'],
  isbot: ['visitor', 'analytics'],
  kysely: ['analytics', 'gateway', 'sms', 'access'],
  maxmind: ['visitor'],
  piscina: ['engine', 'sinks', 'analytics', 'gateway', 'sms'],
  'ua-parser-js': ['visitor'],
  'libphonenumber-js': ['sms/message'],
  'fast-json-stringify': ['http', 'service', 'collect', 'analytics', 'gateway', 'sms'],
  yaml: ['kernel'],
  ajv: ['service'],
  'ajv-formats': ['service'],
  ioredis: ['access', 'gateway'],
  re2js: ['analytics/columns'],
  undici: ['gateway', 'sms', 'store/clickhouse'],
  '@fastify/busboy': ['gateway'],
  hyparquet: ['sms'],
  'hyparquet-writer': ['sms'],
};

/** Files that hold what must stand in one place only. */
const onlyIn = [
  {
    what: 'process.env',
    pattern: /\bprocess\s*(?:\.\s*env\b|\[)|=\s*process\s*[;,)]/,
    files: ['src/kernel/config/environment.ts'],
  },
  // Everything that waits on a word of shared memory goes through here; a thread with an event loop is stopped dead by it.
  { what: 'Atomics.wait', pattern: /\bAtomics\s*(?:\.\s*wait\s*\(|\[)/, files: ['src/kernel/threads/wake.ts'] },
] as const;

/**
 * Files that read the wall clock, or the times of files, and what for. Somebody may set that clock at any moment, back
 * or forward: what lasts goes by performance.now(), what has an order by the order of writing. A new line here needs a
 * reason why a clock that is wrong does no harm.
 */
export const wallClock: Readonly<Record<string, string>> = {
  'src/analytics/import/import-command.ts':
    'the time of receipt of imported events, for people; a line counts by its own time',
  'src/analytics/intake/salts-keeper.ts': 'UTC days; tested with clocks that are set (salts-keeper.test.ts)',
  'src/analytics/live/worker.ts':
    'who had an event in the last five minutes, by the times of records of a topic, and of frames',
  'src/analytics/processor/load.ts':
    'when a record of somebody else was read, where its topic has no time of the broker; the time of a dead letter',
  'src/analytics/query/lag-teller.ts':
    'how old what came just now may be, against times of receipt; a clock that is set lets an hour show late what is lost',
  'src/delivery/dead-letter.ts': 'the time of a letter, for people; order is the place in the file',
  'src/engine/disk.ts': 'the time of a segment file, for segment-age.ts',
  'src/engine/keeper-thread.ts': 'the age of what earlier lives left; then a clock that is never set',
  'src/engine/lane.ts': 'the time of receipt of a frame, for people and for journal --since; order is the position',
  'src/gateway/cache/janitor-worker.ts':
    'which file of the cache was used longest ago; a wrong order evicts another one',
  'src/gateway/quota/worker.ts': 'months of UTC, and the time that is signed',
  'src/gateway/jobs.ts': 'the age of leftovers of uploads, by the times of files',
  'src/gateway/upload/store.ts':
    'the age of leftovers: a clock that is wrong keeps them longer, or drops an upload under way',
  'src/http/answer.ts': 'the header Date of a refusal that lingers, for people',
  'src/http/renewal.ts':
    'a file time that differs from the last one says that the file was changed, whichever is later',
  'src/kernel/clock.ts': 'the clock itself',
  'src/kernel/file-lock.ts': 'since when somebody has a lock, for people',
  'src/kernel/metrics/process.ts': 'process_start_time_seconds',
  'src/kernel/tracing.ts': 'the begin of a span; it lasts by the other clock',
  'src/service/acceptor-thread.ts': 'the time of receipt of an event',
  'src/service/doctor/front.ts': 'days until a certificate ends',
  'src/service/observe.ts': 'the age of an event, for a gauge that is never below 0',
  'src/service/scheduler.ts': 'times of day; tested with clocks that are set (scheduler.test.ts)',
  'src/sinks/file/rotated.ts': 'LOG_MAX_AGE_DAYS means days of the calendar; how many files are kept goes by order',
  'src/sinks/file/sink.ts': 'names of rotated files, for people',
  'src/sinks/http/examine.ts': 'how far the receiver and this machine are apart',
  'src/sinks/http/sink.ts': 'the time that is signed; a date in Retry-After of a receiver without a Date',
  'src/sinks/postgres/examine.ts': 'how far the server and this machine are apart',
  'src/sms/callbacks/worker.ts': 'the time that is signed',
  'src/sms/operators/smpp/driver.ts': 'how long a message is valid, which is a time of the wall clock',
  'src/sms/operators/smpp/receipts.ts': 'the time of a receipt, for people; states only go forward',
  'src/visitor/examine.ts': 'the age of a geo database',
  'src/visitor/geo.ts': 'a file time that differs from the last one says that the file was changed, whichever is later',
  'src/visitor/salts.ts': 'UTC days; tested with clocks that are set (privacy.test.ts)',
  'src/sms/delivery/jobs.ts': 'the age of messages, by the time in their ids',
  'src/sms/delivery/resend-command.ts': 'when the validity of a message begins anew',
  'src/sms/delivery/worker.ts': 'validity, promised times and pauses of messages, which outlast a process',
  'src/sms/outbox/worker.ts': 'the time of receipt of a record, for people',
};

const READS_WALL_CLOCK =
  /\bDate\s*\.\s*now\b|\bnew\s+Date\s*(?:\(\s*\)|;)|\bDate\s*\(\s*\)|\btimeOrigin\b|\b[acm]time(?:Ms|Ns)?\b|[cC]lock\s*\.\s*now\b|\{[^{}]*\bnow\b[^{}]*\}\s*from\s*'[^']*\/clock\.ts'/;

/** Whether the code (comments aside) asks what time it is. */
export const readsWallClock = (source: string): boolean => READS_WALL_CLOCK.test(code(source));

export type Sources = ReadonlyMap<string, string>;

/** Every TypeScript file below src/, by its path from the root. Browser code (web/) has a world of its own. */
export function readSources(): Sources {
  const files = globSync('src/**/*.ts').filter((file) => !file.split('/').includes('web'));
  return new Map(files.sort().map((file) => [file, readFileSync(file, 'utf8')]));
}

interface Import {
  readonly from: string;
  readonly to: string;
  /** False for `import type`: it is gone when the program runs. */
  readonly runs: boolean;
  /** Whoever loads the file loads it: it is no import() and no address of a module. */
  readonly atOnce: boolean;
}

const imports = [
  /^\s*(?:import|export)\b([^;'"]*?)\bfrom\s*['"]([^'"]+)['"]/gm,
  /^\s*import\s*()['"]([^'"]+)['"]/gm,
  /\bimport\s*\(()\s*['"]([^'"]+)['"]/g,
  /\brequire\s*\(()\s*['"]([^'"]+)['"]/g,
  // A worker's entry is reached by its address.
  /\bnew URL\(()\s*['"](\.[^'"]+\.[jt]s)['"]/g,
  // So is a module of a service, by its name.
  /\bsibling\(import\.meta,()\s*['"]([^'"]+)['"]/g,
];

/** So many of these are static. */
const STATIC = 2;

/** Without comments that take whole lines; a comment behind code stays, and a word in it may be found. */
function code(source: string): string {
  return source.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '');
}

export function importsOf(file: string, source: string): readonly Import[] {
  return imports.flatMap((pattern, spelling) =>
    [...code(source).matchAll(pattern)].map(([, clause = '', name = '']) => {
      const local = name.startsWith('.');
      const to = local ? posix.join(posix.dirname(file), name).replace(/\.js$/, '.ts') : name;
      const runs = !/^\s*type\b/.test(clause);
      return { from: file, to, runs, atOnce: runs && spelling < STATIC };
    }),
  );
}

/** The room of a path: 'kernel', or 'main.ts' for a file right below src/. */
function roomOf(file: string): string {
  return file.split('/')[1] ?? '';
}

function within(file: string, folders: readonly string[]): boolean {
  return folders.some((folder) => file.startsWith(`src/${folder}/`));
}

/** One line for each place where the source breaks a rule. */
export function violations(sources: Sources): readonly string[] {
  const found: string[] = [];
  const edges: Import[] = [];
  for (const [file, source] of sources) {
    const room = roomOf(file);
    if (room !== 'main.ts' && !Object.hasOwn(rooms, room)) found.push(`${file}: ${room} is not in the room table`);
    for (const one of importsOf(file, source)) {
      if (one.to.startsWith('src/')) edges.push(one);
      found.push(...importProblems(one));
    }
    if (readsWallClock(source) && !Object.hasOwn(wallClock, file))
      found.push(`${file}: reads the wall clock, which somebody may set: see wallClock in test/architecture.ts`);
    for (const { what, pattern, files } of onlyIn) {
      if (!(files as readonly string[]).includes(file) && pattern.test(code(source))) {
        found.push(`${file}: ${what} belongs into ${files.join(', ')}`);
      }
    }
  }
  return [...found, ...cycles(edges)];
}

function importProblems({ from, to }: Import): readonly string[] {
  const room = roomOf(from);
  if (to.startsWith('node:')) return [];
  if (!to.startsWith('src/')) {
    // package.json lies above src/ in the sources and above dist/ when built.
    const name = to
      .split('/')
      .slice(0, to.startsWith('@') ? 2 : 1)
      .join('/');
    const allowed = libraries[name];
    if (allowed === undefined) return [`${from}: library ${name} is not in the table`];
    return within(from, allowed) ? [] : [`${from}: library ${name} belongs into ${allowed.join(', ')}`];
  }
  const target = roomOf(to);
  if (target === 'main.ts') return [`${from}: nothing imports main.ts`];
  if (room === 'main.ts' || room === target) return foreignSink(from, to);
  return rooms[room]?.includes(target) ? [] : [`${from}: ${room} must not import ${target}: ${to}`];
}

/** Sinks share what lies right in sinks/; none knows of another. */
function foreignSink(from: string, to: string): readonly string[] {
  const [, room, sink, inside] = from.split('/');
  const [, targetRoom, target, targetInside] = to.split('/');
  if (room !== 'sinks' || targetRoom !== 'sinks') return [];
  if (inside === undefined || targetInside === undefined || sink === target) return [];
  return [`${from}: sink ${sink} must not import sink ${target}`];
}

/** Libraries that a file brings along when it is loaded, sorted. */
export function loadedWith(file: string, sources: Sources): readonly string[] {
  const seen = new Set([file]);
  // A set is walked to its end, also over what is added meanwhile.
  for (const one of seen) for (const { to, atOnce } of importsOf(one, sources.get(one) ?? '')) if (atOnce) seen.add(to);
  return [...seen].filter((name) => !name.startsWith('src/') && !name.startsWith('node:')).sort();
}

/** Files that import each other in a circle when the program runs: their order of evaluation would be an accident. */
function cycles(edges: readonly Import[]): readonly string[] {
  const next = Map.groupBy(
    edges.filter(({ runs }) => runs),
    ({ from }) => from,
  );
  const done = new Set<string>();
  const path: string[] = [];
  const found: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push(`circle: ${[...path.slice(at), file].join(' > ')}`);
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    for (const { to } of next.get(file) ?? []) visit(to);
    path.pop();
    done.add(file);
  };
  for (const file of next.keys()) visit(file);
  return found;
}
