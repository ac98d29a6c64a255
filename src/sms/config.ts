/** Options of the SMS gateway, beside those of the frame. Each part may have a set of its own. */
import { adminKeyOption } from '../access/admin-key.ts';
import { accessConfig } from '../access/config.ts';
import { type ConfigOf, defineConfig, integer, oneOf } from '../kernel/config.ts';
import { httpSinkConfig } from '../sinks/http/config.ts';
import { kafkaConfig } from '../sinks/kafka/config.ts';
import { postgresConfig } from '../sinks/postgres/config.ts';
import { acceptConfig } from './accept/config.ts';
import { callbacksConfig } from './callbacks/config.ts';
import { connectionsConfig } from './connections.ts';
import { workerConfig } from './delivery/config.ts';
import { operatorsConfig } from './operators/config.ts';
import { outboxConfig } from './outbox/config.ts';
import { partitionsConfig } from './partitions/config.ts';
import { clickhouseConfig, reportsConfig } from './reports/config.ts';

export const smsConfig = defineConfig('sms', {
  adminKey: adminKeyOption(
    'Key of administrators (`Authorization: Bearer`): customers, credit, keys, every report. Also with ACCESS=open.',
    'administration over HTTP is off; the command line still changes everything',
  ),
  access: oneOf(['keys', 'open'], {
    default: 'keys',
    doc:
      'Who may send. keys: whoever has a key of the customer. open: everybody, for every customer; administration, ' +
      'credit, receipts and exports ask for their key all the same.',
  }),
  ipRequestsPerMinute: integer({
    default: 100,
    min: 1,
    max: 1_000_000,
    doc:
      'Requests of an address in a minute that come without a right key and are answered 401, at each port; the next ' +
      'ones are answered 429. Right keys pass all the same. IPv6: of a /64.',
  }),
  costPerSms: integer({
    default: 1,
    min: 0,
    max: 1_000_000_000,
    doc: 'Price of a message, in the smallest unit of the currency, where the customer has no price of its own.',
  }),
  backlogLimit: integer({
    default: 1_000_000,
    min: 1,
    max: 1_000_000_000,
    doc: 'Messages of a customer that may wait to be sent. Beyond it sends are answered 429.',
  }),
});
export type SmsConfig = ConfigOf<typeof smsConfig>;

export const smsConfigs = [
  smsConfig,
  connectionsConfig,
  acceptConfig,
  outboxConfig,
  workerConfig,
  accessConfig,
  operatorsConfig,
  callbacksConfig,
  partitionsConfig,
  postgresConfig,
  kafkaConfig,
  httpSinkConfig,
  clickhouseConfig,
  reportsConfig,
] as const;
