/**
 * Produce requests and answers, versions 9 to 11 (Kafka 2.4 and newer; 12 means transactions, 13 topic ids).
 *
 *   request   transactional id (none), acks i16, timeout ms i32, one topic: name, partitions { index i32, records }
 *   answer    topics { name, partitions { index, error, base offset, append time, log start, record errors, message } }
 *
 * Lengths are unsigned varints of length + 1, every structure ends with tagged fields: the protocol's compact form.
 */
import { type Reader, Writer } from '@platformatic/kafka';

export const PRODUCE = 0;
/** Versions of this API that are written and read here, newest first. */
export const produceVersions = [11, 10, 9].map((version) => [version, version] as const);

export interface PartitionResult {
  readonly partition: number;
  /** Kafka's error code; 0 is success. */
  readonly code: number;
  readonly detail: string | null;
}

const NO_TAGS = 0;

export function encodeProduce(
  topic: string,
  acks: number,
  timeoutMs: number,
  parts: readonly { readonly partition: number; readonly bytes: Buffer }[],
): Writer {
  const writer = Writer.create()
    .appendString(null)
    .appendInt16(acks)
    .appendInt32(timeoutMs)
    .appendUnsignedVarInt(2)
    .appendString(topic)
    .appendUnsignedVarInt(parts.length + 1);
  for (const { partition, bytes } of parts) {
    writer
      .appendInt32(partition)
      .appendUnsignedVarInt(bytes.length + 1)
      .append(bytes)
      .appendUnsignedInt8(NO_TAGS);
  }
  writer.appendUnsignedInt8(NO_TAGS).appendUnsignedInt8(NO_TAGS);
  if (acks === 0) writer.context['noResponse'] = true; // the library must not wait for an answer that never comes
  return writer;
}

export function parseProduce(
  _correlationId: number,
  _api: number,
  _version: number,
  reader: Reader,
): PartitionResult[] {
  const results: PartitionResult[] = [];
  const topics = reader.readUnsignedVarInt() - 1;
  for (let t = 0; t < topics; t++) {
    reader.readString();
    const partitions = reader.readUnsignedVarInt() - 1;
    for (let p = 0; p < partitions; p++) {
      const partition = reader.readInt32();
      const code = reader.readInt16();
      reader.skip(3 * 8);
      let detail: string | null = null;
      const recordErrors = reader.readUnsignedVarInt() - 1;
      for (let r = 0; r < recordErrors; r++) {
        reader.readInt32();
        // Every message is read, also those that are not kept: the fields behind a message begin where it ends.
        const message = reader.readNullableString();
        detail ??= message;
        reader.readTaggedFields();
      }
      detail = reader.readNullableString() ?? detail;
      reader.readTaggedFields();
      results.push({ partition, code, detail });
    }
    reader.readTaggedFields();
  }
  return results;
}
