/**
 * Settings of sessions whose prepared statements find rows by their keys. A plan is kept for as long as the statistics
 * stay: one that was made while a table, or the partition of a new day, was empty reads all of it, row by row, until
 * autovacuum has been there, and by then it may hold a million messages.
 */
export const byIndex = { enable_seqscan: 'off' } as const;
