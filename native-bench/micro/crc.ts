/** What does the checksum of a frame cost, beside a copy of the same bytes? */
import { crc32 } from 'node:zlib';
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
  ];
});
await micro({ asks: 'What does a checksum cost?', unit: 'KiB', cases });
