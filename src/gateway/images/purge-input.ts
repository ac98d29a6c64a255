/**
 * Purge input: what is purged, spelled like the sources of cached pictures. Administrators may purge what
 * ALLOWED_SOURCES does not name any more: that is when it has to go.
 */
import { httpErrors } from '../../http/errors.ts';
import { serviceErrors } from '../../service/errors.ts';
import { gatewayErrors } from '../errors.ts';
import type { PurgeInput } from './answers.ts';
import { readPicture } from './picture-path.ts';
import { type Place, type Sources, spellingOf } from './sources.ts';

/** Of a source, or of the path of one of its pictures. Throws BAD_REQUEST. */
export function placeOf(path: string, sources: Sources): Place {
  return sources.placeOf(sourceIn(path));
}

function sourceIn(path: string): string {
  if (!path.startsWith('/')) return path;
  const picture = readPicture(path.split('?', 1)[0]!);
  if ('reason' in picture) throw httpErrors.BAD_REQUEST({ reason: picture.reason });
  return picture.source;
}

/** What an administrator purges: a source, or the path of one of its pictures. Throws SOURCE_FORBIDDEN, BAD_REQUEST. */
export function purgeOfPath(path: string, sources: Sources): PurgeInput {
  const source = sourceIn(path);
  const place = sources.placeOf(source);
  if (place.kind !== 'forbidden') return { source: place.source, prefix: false };
  const spelled = spellingOf(source);
  if (spelled === undefined) throw gatewayErrors.SOURCE_FORBIDDEN({ reason: place.reason });
  return { source: spelled, prefix: false };
}

/** All sources that begin so. Throws INPUT_REFUSED. */
export function purgeOfPrefix(prefix: string): PurgeInput {
  const source = spellingOf(prefix);
  if (source === undefined)
    throw serviceErrors.INPUT_REFUSED({ reason: 'prefix must begin like a source: local:///ab/' });
  return { source, prefix: true };
}
