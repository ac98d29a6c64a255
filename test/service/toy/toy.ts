/** Toy: a service of notes that uses everything a service may have; src/service/README.md walks through it. */
import { type ConfigOf, defineConfig, text } from '../../../src/kernel/config.ts';
import { defineService } from '../../../src/service/contract.ts';
import { type PostgresConfig, postgresConfig } from '../../../src/sinks/postgres/config.ts';
import { countNotes } from './jobs.ts';

const toyConfig = defineConfig('toy', { toyTopic: text({ default: 'toy-notes', doc: 'Topic of the notes.' }) });
export type ToyValues = { readonly toy: ConfigOf<typeof toyConfig>; readonly postgres: PostgresConfig };
const beside = (name: string) => new URL(name, import.meta.url);
const dsn = ({ postgres }: ToyValues) => postgres.pgDsn;
const group = { groupId: 'toy', start: 'earliest', sessionTimeoutMs: 6000 } as const;
const notes = ({ toy }: ToyValues) => ({ ...group, topics: [toy.toyTopic] });
const run = async ({ postgres }: ToyValues) => {
  process.stdout.write(`${await countNotes(postgres.pgDsn ?? '')} notes\n`);
  return 0;
};

export default defineService({
  name: 'toy',
  summary: 'keep notes',
  module: import.meta.url,
  config: [toyConfig, postgresConfig],
  defaults: { SERVER_ADDR: ':8090', PG_CONNECTIONS: '1' },
  roles: {
    api: {
      summary: 'take notes, show them',
      routes: ['notes', 'note', 'echo'],
      acceptor: beside('acceptor.ts'),
      web: beside('web/'),
      outputs: [{ name: 'notes', kind: 'kafka', options: ({ toy }) => ({ kafkaTopic: toy.toyTopic }) }],
      workers: () => [{ name: 'reader', module: beside('reader.ts'), onDeath: 'restart', thread: 'desk' }],
    },
    keep: {
      summary: 'store notes',
      outputs: [{ name: 'stored', kind: 'postgres', load: beside('load.ts'), source: notes }],
      jobs: { module: beside('jobs.ts'), names: ['count'], dsn, thread: 'desk' },
    },
  },
  commands: { count: { summary: 'count the notes', help: 'ringmain toy count   counts the notes', run } },
  migrations: { folder: beside('migrations/'), dsn, atStart: () => true },
});
