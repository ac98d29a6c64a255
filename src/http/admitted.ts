/**
 * Waits for who may ask, and for what was asked. A handler must begin both before its first await, because the addon's
 * request dies with it; and what is begun must be awaited, whatever else fails: a refusal that nobody waits for is an
 * unhandled rejection, which ends the thread.
 *
 * `read` is called at once. What it throws, or rejects with, is told only to who is permitted.
 */
export async function admitted<P, A>(permitted: P | Promise<P>, read: () => A | Promise<A>): Promise<readonly [P, A]> {
  const asked = (async () => read())();
  // Where the permission is refused, nobody waits for this.
  asked.catch(() => undefined);
  return [await permitted, await asked];
}
