/**
 * Analytics config: the service's own options, beside those of the frame and of the intake routes. Defaults that are
 * choices say why.
 */

import { accessConfig } from '../access/config.ts';
import { collectConfig } from '../collect/config.ts';
import { bytes, type ConfigOf, defineConfig, duration, integer, MiB, oneOf, text } from '../kernel/config.ts';
import { originConfig } from '../visitor/config.ts';
import { DAY_MS } from './dimensions.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** Where POST /events is, whatever EVENTS_PATH says. */
export const EVENTS_PATH = '/events';
/** Paths that have a meaning of their own. */
const taken =
  /^\/(px\.gif|collect|stats|reconcile|openapi\.json|robots\.txt|healthz|readyz|metrics|index\.html|api(\/.*)?)$/;
const pathRule = 'a path of letters, digits and -._~/ that is no other route, like /js/app.js';
const isOwnPath = (path: string): boolean => /^(\/[\w.~-]+)+$/.test(path) && path.length <= 200 && !taken.test(path);

export const analyticsConfig = defineConfig(
  'analytics',
  {
    access: oneOf(['keys', 'open'], {
      default: 'keys',
      doc:
        'Who may send events and read statistics. keys: everybody as long as no site is registered; then events of ' +
        'registered sites only, with a key or from a page of theirs where they have keys or origins, and statistics ' +
        'with a read key (`ringmain site`). The dashboard then asks for a login (`ringmain analytics user`), a share ' +
        'link or a read key; without any user it is open on the loopback address alone, and on other addresses the ' +
        'start is refused until there is a user or a site. open: everybody, whatever users and keys there are.',
    }),
    loginMaxAgeMs: duration({
      env: 'LOGIN_MAX_AGE',
      unitRequired: true,
      default: 30 * DAY_MS,
      min: MINUTE_MS,
      max: 400 * DAY_MS,
      doc: 'A login to the dashboard ends after this time. Browsers keep no cookie for longer than 400 days.',
    }),
    loginIdleMs: duration({
      env: 'LOGIN_IDLE',
      unitRequired: true,
      default: 7 * DAY_MS,
      min: 2 * MINUTE_MS,
      max: 400 * DAY_MS,
      doc: 'A login to the dashboard that is not used for this time ends.',
    }),
    auditDays: integer({
      default: 365,
      min: 1,
      max: 36_500,
      doc:
        'Days that audit lines are kept: logins and changes of users, roles, keys and share links. Of failed logins ' +
        'and unlocks only the newest 100,000 lines are kept.',
    }),
    maxEventAgeMs: duration({
      env: 'MAX_EVENT_AGE',
      unitRequired: true,
      min: MINUTE_MS,
      max: 36_500 * DAY_MS,
      doc: 'How old the timestamp of an event may be when it is received. Older ones are refused.',
      unset: 'any age',
    }),
    sessionTimeoutMs: duration({
      env: 'SESSION_TIMEOUT',
      unitRequired: true,
      default: 30 * MINUTE_MS,
      min: MINUTE_MS,
      max: 12 * HOUR_MS,
      doc:
        'A visit ends when nothing happens for longer than this. Must be the same in all processes; changing it counts ' +
        'for visitors who are seen from then on.',
    }),
    dimensionValuesMax: integer({
      default: 10_000,
      min: 10,
      max: 1_000_000,
      doc:
        'Values of a dimension, and of each property, that are counted apart per site and day; further ones count ' +
        'under (other), those of a property under an (other) of its own.',
    }),
    propertiesMax: integer({
      default: 100,
      min: 1,
      max: 1000,
      doc:
        'Properties, of all event types together, whose values are counted apart per site and day; further ones are not ' +
        'listed. With DIMENSION_VALUES_MAX it bounds the rows that senders can make in a day.',
    }),
    retentionDays: integer({
      min: 1,
      max: 36_500,
      doc:
        'Days that raw events are kept; whole months are dropped when they are older, and older events are refused. ' +
        'Statistics stay. A site may have a shorter time of its own (`ringmain site`).',
      unset: 'for ever',
    }),
    eventIdDays: integer({
      default: 7,
      min: 7,
      max: 365,
      doc: 'Days that the ids of stored events are remembered at least, so that one that comes again is not counted twice.',
    }),
    trackerPath: text({
      default: '/js/ringmain.js',
      must: pathRule,
      test: isOwnPath,
      doc:
        'Path of the script that pages load. Another one helps where a content blocker knows this one: ' +
        '/assets/t-4f1c.js.',
    }),
    eventsPath: text({
      default: EVENTS_PATH,
      must: pathRule,
      test: isOwnPath,
      doc: `Path that the script sends events to; ${EVENTS_PATH} takes them all the same.`,
    }),
    queryConnections: integer({
      default: 4,
      min: 1,
      max: 64,
      doc: 'Connections to Postgres that answer queries, in each process that serves them.',
    }),
    kafkaGroupId: text({
      default: 'processor-group',
      yaml: 'kafka.group_id',
      must: 'at most 249 characters',
      test: (value) => value.length <= 249,
      doc: 'Consumer group of the processors. A new group starts at the earliest record.',
    }),
    kafkaSessionTimeoutMs: duration({
      default: 10_000,
      min: 1000,
      max: 600_000,
      yaml: 'kafka.session_timeout_ms',
      doc:
        'How long a processor may be silent before its partitions go to others. The broker has limits of its own ' +
        '(group.min.session.timeout.ms, group.max.session.timeout.ms).',
    }),
    kafkaRebalanceTimeoutMs: duration({
      default: 60_000,
      min: 1000,
      max: 3_600_000,
      yaml: 'kafka.rebalance_timeout_ms',
      doc:
        'How long a processor has to finish the batches under way when the partitions are dealt anew; then it loses its ' +
        'place. Longer than a transaction may take (PG_STATEMENT_TIMEOUT_MS).',
    }),
    kafkaFetchBytes: bytes({
      default: 16 * MiB,
      min: MiB,
      max: 1024 * MiB,
      yaml: 'kafka.fetch_bytes',
      doc:
        'Bytes of records, as they are packed, that a processor fetches ahead of all of its partitions; an answer of a ' +
        'broker has a quarter of it. More helps where a broker is far away.',
    }),
    kafkaFetchWaitMs: duration({
      default: 500,
      min: 10,
      max: 30_000,
      yaml: 'kafka.fetch_wait_ms',
      doc:
        'How long a broker waits for records before it answers a fetch without any. They are never late for it: the ' +
        'first record ends the wait.',
    }),
    kafkaUnpackedBytes: bytes({
      default: 64 * MiB,
      min: MiB,
      max: 1024 * MiB,
      yaml: 'kafka.unpacked_bytes',
      doc:
        'Bytes that a compressed batch may unpack to. A larger one is given up, as one that does not unpack: logged as ' +
        'an error and counted by ringmain_sink_given_up_total. A processor holds less than twice of it unpacked. ' +
        'Raise it with max.message.bytes of the topic.',
    }),
  },
  {
    check: ({ trackerPath, eventsPath }, all) => [
      ...(all['postgres'] !== undefined && all['postgres']['pgDsn'] === undefined
        ? ['DATABASE_URL (or PG_DSN) must be set: analytics keeps everything in Postgres']
        : []),
      ...(trackerPath === eventsPath || trackerPath === EVENTS_PATH
        ? [`TRACKER_PATH must differ from EVENTS_PATH and ${EVENTS_PATH}: found=${trackerPath}`]
        : []),
    ],
  },
);
export type AnalyticsConfig = ConfigOf<typeof analyticsConfig>;

export const analyticsConfigs = [analyticsConfig, accessConfig, collectConfig, originConfig] as const;
