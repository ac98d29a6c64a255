/** What acceptors ask the worker `live`: a Look of hub.ts, answered with Looked; undefined: too many sites are looked at. */
export const LIVE_WORKER = 'live';
/** Name of the route. */
export const LIVE_ROUTE = 'live';
