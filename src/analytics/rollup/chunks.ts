/** Rows of one statement. */
const ROWS_MAX = 20_000;

/** Cuts a list into parts that one statement bears; an empty list has none. */
export function* chunks<T>(items: readonly T[], max = ROWS_MAX): Generator<readonly T[]> {
  if (items.length > 0 && items.length <= max) yield items;
  else for (let at = 0; at < items.length; at += max) yield items.slice(at, at + max);
}
