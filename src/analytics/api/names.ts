/** Names of the routes of the API: labels of metrics. */
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
