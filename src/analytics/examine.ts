/**
 * What `ringmain doctor` asks the database and the topic of analytics, beside what it asks every output: whether the
 * schema can be made and kept up, who may come in, and how long events may wait. It changes nothing. A server that does
 * not answer is a finding of the outputs; nothing is said of it here.
 */
import type { Naming } from '../kernel/config.ts';
import { error, type Finding, note, ok, warning } from '../kernel/finding.ts';
import { KafkaFailure } from '../store/kafka/failure.ts';
import { KafkaLinks } from '../store/kafka/links.ts';
import { topicSettings } from '../store/kafka/topic-settings.ts';
import type { PostgresLink } from '../store/postgres/connection.ts';
import { askingDatabase, examineJobs, examineSchema } from '../store/postgres/examine.ts';
import type { AnalyticsValues } from './analytics.ts';
import { DAY_MS } from './dimensions.ts';
import { dashboardProblems } from './people/standing.ts';
import { months } from './processor/partitions.ts';

const KEY_DAYS_MIN = 14;
/** A processor that is away over a long weekend loses nothing. */
const TOPIC_DAYS_MIN = 3;

const asking = (
  { postgres }: AnalyticsValues,
  findings: (link: PostgresLink) => AsyncGenerator<Finding>,
): AsyncGenerator<Finding> => askingDatabase(postgres.pgDsn, findings);

const hasSchema = async (link: PostgresLink): Promise<boolean> => {
  const { rows } = await link.query<{ there: boolean }>("SELECT to_regclass('sites') IS NOT NULL AS there");
  return rows[0]!.there;
};

/** Who may send events and read statistics. */
export async function* examineAccess(values: AnalyticsValues): AsyncGenerator<Finding> {
  if (values.visitor.geoipDb === undefined) yield note('GEOIP_DB is not set: country and region are not counted');
  if (values.analytics.access === 'open') {
    yield note('ACCESS=open: everybody may send events and read statistics, whatever sites and keys there are');
    return;
  }
  yield* asking(values, async function* (link) {
    if (!(await hasSchema(link))) {
      yield note('no site is registered: everybody may send events and read statistics until one is');
      return;
    }
    const { rows } = await link.query<{ sites: number; keys: number; ending: string[] }>(
      `SELECT (SELECT count(*)::int FROM sites WHERE registered) AS sites,
              (SELECT count(*)::int FROM site_keys
                WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) AS keys,
              ARRAY(SELECT key_id FROM site_keys
                     WHERE revoked_at IS NULL AND expires_at BETWEEN now() AND now() + $1 * interval '1 day'
                     ORDER BY expires_at) AS ending`,
      [KEY_DAYS_MIN],
    );
    const { sites, keys, ending } = rows[0]!;
    if (sites === 0)
      yield warning(
        'no site is registered: everybody may send events and read statistics',
        'Register your sites with `ringmain site add`, or set ACCESS=open if that is what you want.',
      );
    else yield ok(`${sites} sites are registered, ${keys} keys are valid`);
    for (const text of await dashboardProblems(values))
      yield error(text, 'The api will not start until this is fixed.');
    if (keys > 0 && values.access.keyPepper === undefined)
      yield error(
        `KEY_PEPPER is not set, and there are ${keys} keys: none of them is accepted`,
        'Set KEY_PEPPER to the secret that they were made with.',
      );
    if (ending.length > 0)
      yield warning(
        `keys that expire within ${KEY_DAYS_MIN} days: ${ending.join(', ')}`,
        'Make new ones with `ringmain site key`, and put them where the old ones are used.',
      );
  });
}

/** Whether events can be stored: the schema, its partitions and jobs, and the topic in front of it. */
export async function* examineStore(values: AnalyticsValues, named: Naming): AsyncGenerator<Finding> {
  yield* asking(values, async function* (link) {
    const owned = yield* examineSchema(link, 'events', named('PG_DSN'));
    if (!owned) return;
    yield* partitions(link);
    yield* examineJobs(link, 'analytics');
  });
  if (values.kafka.kafkaBrokers.length > 0) yield* topic(values);
}

async function* partitions(link: PostgresLink): AsyncGenerator<Finding> {
  const { missing, strays } = await months.state(link);
  const astray = strays.events + strays.visitor_days;
  if (missing.length > 0)
    yield warning(
      `partitions are missing: ${missing.join(', ')}`,
      'Start a processor: its job makes them. See RingmainPartitionsMissing in deploy/RUNBOOK.md if it does not.',
    );
  else yield ok('the partitions of this month and the next are there');
  if (astray > 0)
    yield warning(
      `${astray} rows lie in default partitions although their month could have one`,
      'See RingmainDefaultPartitionRows in deploy/RUNBOOK.md.',
    );
}

async function* topic({ kafka }: AnalyticsValues): AsyncGenerator<Finding> {
  const name = kafka.kafkaTopic;
  let links: KafkaLinks | undefined;
  try {
    links = new KafkaLinks(kafka, { clientId: 'ringmain-doctor' });
    const found = await topicSettings(links, name, ['retention.ms', 'cleanup.policy', 'message.timestamp.type']);
    // A topic that is not there is a finding of the output that writes to it.
    if (found === undefined) return;
    yield* topicFindings(name, found.partitions, found.settings);
    const dead = `${name}.dead`;
    if (!kafka.kafkaCreateTopic && !(await links.cluster([dead])).topics.has(dead))
      yield error(
        `topic ${dead} is missing, and KAFKA_CREATE_TOPIC=false: ` +
          'the first record that is no event holds up its partition',
        'Create it; records that are no events go there.',
      );
  } catch (cause) {
    if (!(cause instanceof KafkaFailure)) throw cause;
    // Who cannot be reached is a finding of the output; rights to ask for settings are not needed to run.
    if (cause.verdict !== 'retry') yield note(`the settings of topic ${name} cannot be read: ${cause.message}`);
  } finally {
    await links?.close();
  }
}

export function* topicFindings(
  name: string,
  partitionCount: number,
  settings: ReadonlyMap<string, string>,
): Generator<Finding> {
  if ((settings.get('cleanup.policy') ?? 'delete').includes('compact'))
    yield error(
      `topic ${name} is compacted: of all events of a visitor, only the last one would stay`,
      'Set cleanup.policy=delete for it.',
    );
  const days = Number(settings.get('retention.ms') ?? -1) / DAY_MS;
  const kept = days < 0 ? 'for ever' : `for ${Math.floor(days * 10) / 10} days`;
  if (days >= 0 && days < TOPIC_DAYS_MIN)
    yield warning(
      `topic ${name} keeps records ${kept}: what no processor has read by then is lost`,
      `Raise retention.ms of the topic to at least ${TOPIC_DAYS_MIN} days.`,
    );
  else yield ok(`topic ${name} keeps records ${kept}`);
  yield note(`topic ${name} has ${partitionCount} partitions: at most as many processors have work`);
  if (settings.get('message.timestamp.type') !== 'LogAppendTime')
    yield note(
      `topic ${name} has the times of its producers: timestamps of foreign events are judged by the time of reading ` +
        '(message.timestamp.type=LogAppendTime judges them by the broker)',
    );
}
