/** Options of the relay. */
import { type ConfigOf, defineConfig, oneOf } from '../../kernel/config.ts';

export const outboxConfig = defineConfig('outbox', {
  ack: oneOf(['journal', 'sync'], {
    default: 'journal',
    doc:
      'When a record may leave the outbox. journal: it is written to the journal, which outlasts kill -9. sync: it is ' +
      'on the disk, which outlasts a power failure.',
  }),
});
export type OutboxConfig = ConfigOf<typeof outboxConfig>;
