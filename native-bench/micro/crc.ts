/**
 * What do the checksums cost, beside a copy of the same bytes? CRC-32 is that of journal frames and checkpoints (zlib, in Node), CRC-32C that of
 * Kafka's record batches, by the Kafka library (native where its optional addon is installed, else WebAssembly), through a Writer as the
 * encoder of our sink calls it.
 */
import { crc32 } from 'node:zlib';
import { crc32c, Writer } from '@platformatic/kafka';
import { type Case, micro } from '../rig/micro.ts';

const chunk = 2 ** 20;
const cases: Case[] = [584, 4096, 65536].flatMap((bytes) => {
  const buffer = Buffer.alloc(bytes, 'z');
  const target = Buffer.alloc(bytes);
  const repeat = (work: () => unknown) => (): number => {
    for (let done = 0; done < chunk; done += bytes) work();
    return chunk / 1024;
  };
  return [
    { name: `copy, ${bytes} bytes at once`, kind: 'limit', run: repeat(() => buffer.copy(target)) },
    { name: `crc32 (zlib), ${bytes} bytes at once`, run: repeat(() => crc32(buffer)) },
    {
      name: `crc32c (@platformatic/kafka), ${bytes} bytes at once`,
      run: repeat(() => crc32c(Writer.create().append(buffer).dynamicBuffer)),
    },
  ];
});
await micro({ asks: 'What does a checksum cost?', unit: 'KiB', cases });
