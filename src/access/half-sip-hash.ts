/**
 * HalfSipHash-2-4 with 64 bits of output (J.-P. Aumasson, github.com/veorq/SipHash): a hash under a key, for tables in
 * memory whose names strangers choose. Without the key nobody can choose names that meet in one place.
 */
export interface HashKey {
  readonly k0: number;
  readonly k1: number;
}

/** The last hash: two words of 32 bits. The next call of hashName() overwrites it. */
export const hashed = new Int32Array(2);

/** Hashes the low byte of each character: names are ASCII. */
export function hashName(name: string, { k0, k1 }: HashKey): void {
  // One function with local words: as variables of the module they would be numbers on the heap, at twice the cost.
  let v0 = k0;
  let v1 = k1 ^ 0xee;
  let v2 = 0x6c796765 ^ k0;
  let v3 = 0x74656462 ^ k1;
  const { length } = name;
  const words = (length >>> 2) + 1;
  for (let step = 0; step < words + 2; step += 1) {
    let word = 0;
    let rounds = 2;
    if (step < words) {
      const at = 4 * step;
      if (at + 4 <= length)
        word =
          (name.charCodeAt(at) & 0xff) |
          ((name.charCodeAt(at + 1) & 0xff) << 8) |
          ((name.charCodeAt(at + 2) & 0xff) << 16) |
          (name.charCodeAt(at + 3) << 24);
      else {
        word = length << 24;
        for (let i = at; i < length; i += 1) word |= (name.charCodeAt(i) & 0xff) << (8 * (i - at));
      }
      v3 ^= word;
    } else {
      rounds = 4;
      if (step === words) v2 ^= 0xee;
      else {
        hashed[0] = v1 ^ v3;
        v1 ^= 0xdd;
      }
    }
    for (let round = 0; round < rounds; round += 1) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    v0 ^= word;
  }
  hashed[1] = v1 ^ v3;
}
