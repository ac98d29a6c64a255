/**
 * Pipe: how many events are on their way between a 2xx and the database, by positions and not by the books, so that a
 * lost event is not taken for one that is late. Three stretches:
 *
 *   log > topic     of each process: told by it in `pipeline_lag`, once a second (lag-teller.ts)
 *   topic > store   ends of the partitions (topic-ends.ts), less the cursors that the processors move with their rows
 *   log > store     without Kafka, instead of the two: told like the first
 *
 * Beside them `log > accepted`: events that are not counted as accepted yet. Figures of different processes are seconds
 * apart, so each tells as well what has come to it within the last few seconds. The sum is at least what is on its way,
 * and 0 once nothing has come for some seconds and everything is stored.
 *
 * Under steady traffic the pipe is never empty, so an hour is given only what may be of it: what a process tells counts
 * for hours that end after `since` and begin before it was told, what lies in the topic for hours that end after the
 * time of its record. Events that a process delivers late, and whose topic goes by the broker's clock
 * (message.timestamp.type=LogAppendTime) or has younger records of others before them, count as missing until a
 * processor has read them.
 *
 * When a process dies, its row stays, and that is right: the events are in its journal, and whoever starts on it again
 * tells anew. The row of a log in memory alone ends with its process. A journal that does not come back within KEPT is
 * given up: what it holds is then missing in the books, and the sums show it. What has reached the topic is measured
 * there, so no processor has to live for it.
 */
import { sql } from 'kysely';
import type { Snapshot } from './database.ts';
import type { Span } from './range.ts';
import type { Pipe } from './reconcile.ts';
import type { TopicEnds } from './topic-ends.ts';

/** A process that is well tells more often (lag-teller.ts). */
const STALE_S = 15;
const KEPT_H = 48;
/** Between the receipt of an event and the time of its record, and between clocks. */
const SLACK_MS = 60_000;
/** Outputs by what they stand for (analytics.ts), and the table of cursors (sinks/postgres/cursor.ts). */
const ACCEPTED = 'accepted';
const STORE = 'store';
const CURSORS = 'ringmain_cursors';

interface Told {
  readonly output: string;
  readonly lag: number;
  readonly sinceMs: number | null;
  readonly toldMs: number;
}

/** `topic`: where events go on their way; undefined: there is none. `times`: of receipt, ms since 1970. */
export async function measurePipe(
  snapshot: Snapshot,
  topic: TopicEnds | undefined,
  times: readonly Span[],
): Promise<readonly Pipe[]> {
  const told = await snapshot.rows(sql<Told>`
    SELECT output, lag::float8 AS lag, extract(epoch FROM since)::float8 * 1000 AS "sinceMs",
      extract(epoch FROM told_at)::float8 * 1000 AS "toldMs"
    FROM pipeline_lag WHERE lag > 0 AND told_at > now() -
      CASE WHEN lasting THEN make_interval(hours => ${sql.lit(KEPT_H)})
      ELSE make_interval(secs => ${sql.lit(STALE_S)}) END`);
  const inTopic = topic === undefined ? times.map(() => 0) : await measureTopic(snapshot, topic, times);
  return times.map(({ from, to }, index) => {
    const pipe = { events: inTopic[index]!, uncounted: 0 };
    for (const { output, lag, sinceMs, toldMs } of told) {
      if (from <= toldMs + SLACK_MS && (sinceMs === null || sinceMs < to))
        pipe[output === ACCEPTED ? 'uncounted' : 'events'] += lag;
    }
    return pipe;
  });
}

async function measureTopic(snapshot: Snapshot, topic: TopicEnds, times: readonly Span[]): Promise<readonly number[]> {
  // The ends are asked after the snapshot was taken: what comes meanwhile is on its way.
  const rows = await cursorsOf(snapshot, topic.number);
  const ends = await topic.ask();
  const cursors = new Map<number, number>();
  // A cursor of an earlier topic of this name says nothing. One without an id is of an older version.
  for (const { partition, topicId, position } of rows)
    if (topicId === '' || topic.id === undefined || topicId === topic.id)
      cursors.set(partition, Math.max(position, cursors.get(partition) ?? 0));
  const waiting = Array.from(ends, ([partition, { from, to }]) => {
    const at = Math.max(from, cursors.get(partition) ?? from);
    return { partition, from: at, to: Math.max(at, to) };
  }).filter(({ from, to }) => from < to);
  if (waiting.length === 0) return times.map(() => 0);
  return Promise.all(
    times.map(async ({ to: endMs }) => {
      const later = await topic.firstFrom(endMs + SLACK_MS);
      let events = 0;
      for (const { partition, from, to } of waiting)
        events += Math.max(0, Math.min(later?.get(partition) ?? to, to) - from);
      return events;
    }),
  );
}

interface Cursor {
  readonly partition: number;
  /** '': of an older version. */
  readonly topicId: string;
  readonly position: number;
}

/** How far each partition is stored. A group that has taken over from another one stands at least where that stood. */
async function cursorsOf(snapshot: Snapshot, topic: number): Promise<readonly Cursor[]> {
  // The first processor makes the table.
  const [table] = await snapshot.rows(sql<{ there: boolean }>`SELECT to_regclass(${CURSORS}) IS NOT NULL AS there`);
  if (!table!.there) return [];
  return snapshot.rows(sql<Cursor>`
    SELECT lane AS partition, split_part(log_id, '/', 2) AS "topicId", max(position)::float8 AS position
    FROM ${sql.table(CURSORS)} WHERE sink = ${STORE} AND life = ${topic} AND lane >= 0 GROUP BY 1, 2`);
}
