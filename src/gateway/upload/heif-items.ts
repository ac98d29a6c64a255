/**
 * HEIF items: where the metadata of a HEIC or AVIF stands in its file (ISO/IEC 14496-12, 8.11.3 iloc and 8.11.6 iinf;
 * ISO/IEC 23008-12, annex A). Everything throws a RangeError at what is damaged or not understood.
 */

/** A part of an item, by its place in the file. */
export interface Extent {
  readonly at: number;
  readonly bytes: number;
}
export interface MetadataItem {
  readonly kind: 'exif' | 'xmp';
  readonly extents: readonly Extent[];
}

interface Box {
  readonly type: string;
  readonly content: Buffer;
  /** Of the content, in the buffer. */
  readonly at: number;
}

const BOXES_MAX = 65_536;

function* boxesOf(parent: Buffer, from: number): Generator<Box> {
  let at = from;
  for (let step = 0; at + 8 <= parent.length; step++) {
    if (step === BOXES_MAX) throw new RangeError('a box must have fewer boxes');
    let [bytes, head] = [parent.readUInt32BE(at), 8];
    if (bytes === 1) [bytes, head] = [Number(parent.readBigUInt64BE(at + 8)), 16];
    else if (bytes === 0) bytes = parent.length - at;
    if (bytes < head || at + bytes > parent.length) throw new RangeError('a box must end within its parent');
    const type = parent.toString('latin1', at + 4, at + 8);
    yield { type, content: parent.subarray(at + head, at + bytes), at: at + head };
    at += bytes;
  }
}

/** Reads numbers one after the other. */
class Numbers {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** Of 0 to 8 bytes. */
  next(bytes: number): number {
    const at = this.at;
    this.at += bytes;
    if (bytes === 0) return 0;
    if (bytes !== 8) return this.#bytes.readUIntBE(at, bytes);
    const wide = Number(this.#bytes.readBigUInt64BE(at));
    if (!Number.isSafeInteger(wide)) throw new RangeError('a place must be within the file');
    return wide;
  }
}

/** `meta`: the content of the box; `at`: its place in the file. */
export function metadataItems(meta: Buffer, at: number): readonly MetadataItem[] {
  const boxes = [...boxesOf(meta, 4)];
  const one = (type: string): Box | undefined => boxes.find((box) => box.type === type);
  const [infos, places, inside] = [one('iinf'), one('iloc'), one('idat')];
  if (infos === undefined || places === undefined) return [];
  const kinds = kindsOf(infos.content);
  if (kinds.size === 0) return [];
  return itemsOf(places.content, kinds, inside && { at: at + inside.at, bytes: inside.content.length });
}

function kindsOf(iinf: Buffer): ReadonlyMap<number, MetadataItem['kind']> {
  const kinds = new Map<number, MetadataItem['kind']>();
  for (const { type, content } of boxesOf(iinf, iinf.readUInt8(0) === 0 ? 6 : 8)) {
    const version = content.readUInt8(0);
    // Older entries are of items without a type.
    if (type !== 'infe' || version < 2) continue;
    const numbers = new Numbers(content, 4);
    const id = numbers.next(version === 2 ? 2 : 4);
    const kind = content.toString('latin1', numbers.at + 2, numbers.at + 6);
    if (kind === 'Exif') kinds.set(id, 'exif');
    else if (kind === 'mime' && content.includes('application/rdf+xml\0', numbers.at + 6)) kinds.set(id, 'xmp');
  }
  return kinds;
}

function itemsOf(
  iloc: Buffer,
  kinds: ReadonlyMap<number, MetadataItem['kind']>,
  idat: Extent | undefined,
): readonly MetadataItem[] {
  const version = iloc.readUInt8(0);
  if (version > 2) throw new RangeError(`iloc must have a version that is known: found=${version}`);
  const numbers = new Numbers(iloc, 4);
  const sizes = numbers.next(2);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >>> 12, (sizes >>> 8) & 15, (sizes >>> 4) & 15];
  const indexBytes = version === 0 ? 0 : sizes & 15;
  const idBytes = version < 2 ? 2 : 4;
  const items: MetadataItem[] = [];
  for (let left = numbers.next(idBytes); left > 0; left--) {
    const kind = kinds.get(numbers.next(idBytes));
    const method = version === 0 ? 0 : numbers.next(2) & 15;
    const elsewhere = numbers.next(2) !== 0;
    const base = numbers.next(baseBytes);
    const extents: Extent[] = [];
    for (let parts = numbers.next(2); parts > 0; parts--) {
      numbers.next(indexBytes);
      const from = base + numbers.next(offsetBytes);
      extents.push({ at: method === 1 ? (idat?.at ?? 0) + from : from, bytes: numbers.next(lengthBytes) });
    }
    if (kind === undefined) continue;
    if (elsewhere || method > 1 || (method === 1 && idat === undefined))
      throw new RangeError('metadata must stand in the file itself');
    items.push({ kind, extents });
  }
  return items;
}
