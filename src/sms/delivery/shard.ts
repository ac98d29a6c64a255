/**
 * Shard: customers in SHARDS groups. A worker process owns whole shards (ownership.ts), so a customer has one sender,
 * one rate and one order of its messages. Stored in sms_queue: the number and the hash must stay as they are.
 */
export const SHARDS = 64;

/** FNV-1a over the characters (ids are ASCII). Source: draft-eastlake-fnv, section 2. */
export function shardOf(customerId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < customerId.length; i++) hash = Math.imul(hash ^ customerId.charCodeAt(i), 0x01000193);
  return (hash >>> 8) % SHARDS;
}
