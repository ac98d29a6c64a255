/** What ClickHouse refuses, and what passes by itself. */

/** ClickHouse has answered, and not with what was asked for. */
export class ClickHouseError extends Error {
  override readonly name = 'ClickHouseError';
  /** Its own code (`SELECT * FROM system.errors`); 0: the answer named none. */
  readonly code: number;
  readonly status: number;

  constructor(place: string, code: number, status: number, text: string) {
    super(`ClickHouse ${place} refused: code=${code}, status=${status}, answer=${text}`);
    this.code = code;
    this.status = status;
  }
}

/** The server cannot be reached, or has broken off. */
export class ClickHouseAway extends Error {
  override readonly name = 'ClickHouseAway';
}

/** Codes of what a busy or starting server says: no fault of the query. */
const passing = new Set([
  159, // TIMEOUT_EXCEEDED
  160, // TOO_SLOW
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  209, // SOCKET_TIMEOUT
  210, // NETWORK_ERROR
  241, // MEMORY_LIMIT_EXCEEDED
  242, // TABLE_IS_READ_ONLY
  252, // TOO_MANY_PARTS
]);

/** Whether the same query may succeed later. */
export const isPassing = (error: unknown): boolean =>
  error instanceof ClickHouseAway || (error instanceof ClickHouseError && passing.has(error.code));
