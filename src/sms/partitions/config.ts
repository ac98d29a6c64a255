/** Options of the role partitions: how long messages and ledger stay in the database, and where they go then. */
import { type ConfigOf, defineConfig, integer, path } from '../../kernel/config.ts';

/** Longer than a message may wait for its turn, its receipt and its callback. */
const DAYS_MIN = 7;
const DAYS_MAX = 36_500;

export const partitionsConfig = defineConfig('partitions', {
  archiveDir: path({
    doc:
      'Folder that partitions past their retention are archived to, as Parquet files; on a disk that is backed up. ' +
      'Every file is read back and compared before its partition is dropped.',
    unset: 'nothing is archived, and nothing is deleted',
  }),
  retentionDays: integer({
    default: 90,
    min: DAYS_MIN,
    max: DAYS_MAX,
    doc: 'Days that messages stay in the database. A day with a message that has not ended stays longer.',
  }),
  ledgerRetentionDays: integer({
    default: 400,
    min: DAYS_MIN,
    max: DAYS_MAX,
    doc:
      'Days that rows of the ledger stay in the database. What a day came to is carried forward the night after, so ' +
      'balances can be proved all the same.',
  }),
});
export type PartitionsConfig = ConfigOf<typeof partitionsConfig>;
