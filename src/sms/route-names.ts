/** Names of the routes of the API: metric labels and span names. Each area adds its own. */
export const smsRouteNames = [
  ...['send', 'batch', 'message', 'messages', 'balance', 'transactions', 'receipts'],
  ...['customers', 'keys', 'audit', 'openapi'],
] as const;
