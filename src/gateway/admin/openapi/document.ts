/**
 * OpenAPI 3.1: the description of every route of the gateway. Requests are validated by it (../validation.ts), answers
 * are serialized by its schemas, and the reference and the Postman collection are made from it.
 * test/gateway/admin/openapi.test.ts holds it against a running gateway.
 */
import { bearer, documentHead } from '../../../service/openapi/parts.ts';
import { headers, type Json, schemas } from './parts.ts';
import { adminPaths } from './paths-admin.ts';
import { operationPaths, picturePaths } from './paths-pictures.ts';

export const openApi = {
  ...documentHead('Ringmain Gateway', 'Keys, limits and quotas in front of imgproxy.'),
  tags: ['pictures', 'uploads', 'users', 'keys', 'usage', 'backends', 'logs', 'audit', 'operations'].map((name) => ({
    name,
  })),
  paths: { ...picturePaths, ...adminPaths, ...operationPaths } as Readonly<
    Record<string, Readonly<Record<string, Json>>>
  >,
  components: {
    schemas,
    headers,
    securitySchemes: {
      apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'A key of a user.' },
      bearerKey: bearer('A key of a user.'),
      signedUrl: {
        type: 'apiKey',
        in: 'query',
        name: 'sig',
        description: 'A signed URL, with kid, exp and sig in its query; for GET and HEAD.',
      },
      adminKey: bearer('ADMIN_KEY; without one these routes refuse everybody, keys with the scope admin as well.'),
    },
  },
} as const;

let text: string | undefined;
export function openApiText(): string {
  text ??= JSON.stringify(openApi);
  return text;
}
