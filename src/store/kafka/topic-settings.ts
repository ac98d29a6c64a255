/** Topic settings: what the cluster says of a topic's partitions and of how long it keeps records. */
import { describeConfigsV4 } from '@platformatic/kafka';
import { failureOfCode, kafkaCode } from './failure.ts';
import { type KafkaLinks, pick } from './links.ts';

const DESCRIBE_CONFIGS = 32;
const TOPIC = 2 as const;

export interface TopicSettings {
  readonly partitions: number;
  /** Values of the settings that were asked for; one that the broker does not tell is missing. */
  readonly settings: ReadonlyMap<string, string>;
}

/** Undefined: there is no such topic. Rejects with a KafkaFailure. */
export async function topicSettings(
  links: KafkaLinks,
  topic: string,
  names: readonly string[],
): Promise<TopicSettings | undefined> {
  const { topics } = await links.cluster([topic]);
  const found = topics.get(topic);
  if (found === undefined) return undefined;
  const asked = [{ resourceType: TOPIC, resourceName: topic, configurationKeys: [...names] }];
  const answer = await links.ask('topic settings', (link) =>
    pick(link, DESCRIBE_CONFIGS, [[4, describeConfigsV4.api]], '2.6').async(link.connection, asked),
  );
  const [result] = answer.results;
  if (result !== undefined && result.errorCode !== kafkaCode.none)
    throw failureOfCode(result.errorCode, `settings of ${topic}`);
  const settings = new Map(
    (result?.configs ?? []).flatMap(({ name, value }) => (value == null ? [] : [[name, value] as const])),
  );
  return { partitions: found.leaders.length, settings };
}
