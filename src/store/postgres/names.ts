/**
 * Names of tables: read as SQL reads them, and quoted so that no name can end its quotes.
 *
 *   events_json              one part; case is folded as in SQL
 *   Analytics.Events         the same table as analytics.events
 *   "My Schema"."a.b""c"     quoted parts are taken as they stand
 */
export interface TableName {
  /** Undefined: the first schema of the server's search_path. */
  readonly schema: string | undefined;
  readonly table: string;
  /** Both parts quoted for SQL. */
  readonly sql: string;
}

/** The server cuts longer names silently: two different names could then mean one table. */
const NAME_BYTES_MAX = 63;

/** Reads a table's name. Throws an Error that says what must hold. */
export function parseTableName(text: string): TableName {
  const part = /"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*)/uy;
  const parts: string[] = [];
  for (let at = 0; ; at += 1) {
    part.lastIndex = at;
    const match = part.exec(text);
    if (match === null) throw malformed(text);
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2]!.toLowerCase());
    at = part.lastIndex;
    if (at === text.length) break;
    if (text[at] !== '.' || parts.length === 2) throw malformed(text);
  }
  for (const name of parts) {
    const bytes = Buffer.byteLength(name);
    if (name.includes('\0') || bytes > NAME_BYTES_MAX) {
      throw new Error(`each part of a table's name must have at most ${NAME_BYTES_MAX} bytes: bytes=${bytes}`);
    }
  }
  const [table, schema] = parts.toReversed();
  return { schema, table: table!, sql: parts.map(quoteName).join('.') };
}

/** A second table in the same schema. */
export function siblingOf(name: TableName, table: string): TableName {
  const parts = name.schema === undefined ? [table] : [name.schema, table];
  return { schema: name.schema, table, sql: parts.map(quoteName).join('.') };
}

/** An identifier for SQL. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function malformed(text: string): Error {
  return new Error(`a table's name must read table or schema.table, odd characters in double quotes: found=${text}`);
}
