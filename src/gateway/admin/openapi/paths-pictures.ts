/** Paths of the document that users ask: pictures, uploads, signed URLs; and those that stand beside the guard. */
import { answer as bare, operationPaths as frameOperationPaths, ops } from '../../../service/openapi/parts.ts';
import { administrators, answer, inPath, inQuery, type Json, json, keys, refusals, signed, takes } from './parts.ts';

const id = inPath('id', 'Id of the upload.', { type: 'string', format: 'uuid' });
const always = [401, 403, 429, 500, 503] as const;
const strip = { type: 'string', enum: ['location'] } as const;
const any = { type: 'string', format: 'binary' } as const;
const picture = Object.fromEntries(
  ['image/jpeg', 'image/png', 'image/webp', 'image/avif', 'image/gif'].map((type) => [type, { schema: any }]),
);

export const picturePaths: Json = {
  '/{path}': {
    get: {
      operationId: 'getPicture',
      tags: ['pictures'],
      summary: 'A picture as imgproxy makes it; every path that is not one of the others.',
      description:
        'The path is that of imgproxy without a signature: `/rs:fit:300:200/plain/local:///ab/cd.jpg@webp`. The source ' +
        'must be an upload of the caller, or begin with one of ALLOWED_SOURCES.',
      security: signed,
      parameters: [inPath('path', 'Processing options and source; it may hold slashes.', { type: 'string' })],
      responses: {
        200: answer('The picture.', picture),
        206: answer('A part of the picture, by Range.', picture),
        304: answer('The picture has not changed, by If-None-Match.'),
        ...refusals(400, 404, 416, 422, ...always, 502, 504),
      },
    },
  },
  '/api/v1/upload': {
    get: {
      operationId: 'listUploads',
      tags: ['uploads'],
      summary: 'The uploads of the caller, the newest first.',
      security: keys,
      parameters: [
        inQuery('limit', 'Entries of a page.', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
        inQuery('cursor', '`next` of the page before.', { type: 'string' }),
      ],
      responses: { 200: answer('A page.', json('UploadPage')), ...refusals(400, ...always) },
    },
    post: {
      operationId: 'upload',
      tags: ['uploads'],
      summary: 'Keeps a picture: a raw body, or the first file of a form.',
      description:
        'What is looked at is the header of the picture: type and size. `strip=location`, also as a field of the form, ' +
        'removes where it was made: GPS data of Exif, XMP, IPTC, and what stands behind the picture; not from GIF.',
      security: keys,
      parameters: [inQuery('strip', 'What is removed.', strip)],
      requestBody: {
        required: true,
        content: {
          ...picture,
          'application/octet-stream': { schema: any },
          'multipart/form-data': { schema: { type: 'object', properties: { file: any, strip }, required: ['file'] } },
        },
      },
      responses: {
        200: answer('The picture is on the disk.', json('Upload')),
        ...refusals(400, 408, 413, 415, ...always, 507),
      },
    },
  },
  '/api/v1/upload/{id}': {
    get: {
      operationId: 'getUpload',
      tags: ['uploads'],
      summary: 'An upload of the caller.',
      security: keys,
      parameters: [id],
      responses: { 200: answer('The upload.', json('Upload')), ...refusals(400, 404, ...always) },
    },
    delete: {
      operationId: 'removeUpload',
      tags: ['uploads'],
      summary: 'Removes an upload of the caller and its variants in the cache.',
      security: keys,
      parameters: [id],
      responses: { 204: answer('It is gone.'), ...refusals(400, 404, ...always) },
    },
  },
  '/api/v1/sign': {
    post: {
      operationId: 'sign',
      tags: ['uploads'],
      summary: 'Signs a path, so that a browser may get it without a key.',
      security: keys,
      ...takes('Signing'),
      responses: { 200: answer('The signed URL.', json('Signed')), ...refusals(400, 408, 413, 415, ...always) },
    },
  },
  '/api/v1/purge': {
    post: {
      operationId: 'purge',
      tags: ['pictures'],
      summary: 'Drops cached pictures of a source, or of all sources that begin with a prefix.',
      security: administrators,
      ...takes('Purge'),
      responses: {
        202: answer('What was cached before is not served again.'),
        ...refusals(400, 408, 413, 415, ...always),
      },
    },
  },
};

export const operationPaths: Json = {
  ...frameOperationPaths(json('Readiness')),
  '/admin': ops('adminPage', 'The page for administrators; its script asks the routes above.', {
    308: bare('The page is at /admin/.'),
  }),
};
