/** Names for labels of metrics. Every thread of the service has them, so nothing is imported here. */

/** Routes of the API. */
export const apiRouteNames = [
  'sites',
  'site',
  'summary',
  'timeseries',
  'breakdown',
  'export',
  'v2',
  'goals',
  'goal',
] as const;

/** Questions of the API to the worker `query` (questions.ts). */
export const apiQuestionNames = [
  'sites',
  'site',
  'change_site',
  'summary',
  'timeseries',
  'series',
  'breakdown',
  'v2',
  'goals',
  'add_goal',
  'remove_goal',
] as const;

/** The route of the script that pages load (tracker-route.ts). */
export const TRACKER_ROUTE = 'tracker';
