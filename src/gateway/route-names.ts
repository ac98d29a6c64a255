/** Names of the gateway's routes: metric labels and span names. Each area adds its own. */
export const gatewayRouteNames = [
  'image',
  'upload',
  'uploads',
  'sign',
  'purge',
  'usage',
  'users',
  'keys',
  'backends',
  'logs',
  'audit',
  'openapi',
  'web',
  'unknown',
] as const;
