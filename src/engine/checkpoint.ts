/**
 * Checkpoint: where one sink stands, made durable. Two slots of 4 KiB, written in turn, so one of them is always whole:
 *
 *   byte  field
 *      0  crc       u32  CRC-32 of bytes 4 .. 20 + length
 *      4  magic     u32
 *      8  format    u32
 *     12  sequence  u32  the higher one counts
 *     16  length    u32  bytes of the body
 *     20  body      JSON, UTF-8: log id, life and its id, lives before it, a mark per lane of that life, the
 *                   target's own state
 *
 * A sink works through the lives of a log in order. `life` names the one it is in: older lives are done, newer ones
 * untouched. So the body stays small however often a process has restarted. L4: written only after the target has the
 * events.
 */
import { crc32 } from 'node:zlib';
import type { Disk } from './disk.ts';

const SLOT = 4096;
/** Byte offsets in a slot, as the table gives them. */
const slotAt = { crc: 0, magic: 4, format: 8, sequence: 12, length: 16 } as const;
const CHECKED_FROM = slotAt.magic;
const HEAD = 20;
const MAGIC = 0x504b4352; // "RCKP"
const FORMAT = 1;

/** A place in a lane: byte position and number of the record there. */
export interface Mark {
  readonly position: number;
  readonly record: number;
}

/** Records a sink has dealt with since it was registered: passed = delivered + dead + givenUp + skipped (L5). */
export interface Ledger {
  readonly passed: number;
  readonly delivered: number;
  readonly dead: number;
  readonly givenUp: number;
  /** Of a kind that the output does not take. Missing in checkpoints of older versions: none. */
  readonly skipped?: number;
}

export interface CheckpointState {
  readonly log: string;
  /** The life the sink is in; earlier ones are done. */
  readonly life: number;
  /** Id of that life; missing when the life has none (older versions). */
  readonly lifeId?: string;
  /** Lives before it, the newest ones: they tell which branch of the log this is (lineage.ts). */
  readonly line?: readonly (readonly [life: number, lifeId: string])[];
  /** Where the sink stands in each lane of that life; a lane that is missing stands at 0. */
  readonly lanes: readonly (readonly [lane: number, position: number, record: number])[];
  /** The ledger so far, see SinkBoard. */
  readonly ledger: Ledger;
  /** What the target needs to go on exactly where it stood. For a file: its name, identity and length. */
  readonly target?: unknown;
}

/**
 * `life` of a sink whose records come from elsewhere, a topic of Kafka: later than every life of this log, so it owes
 * nothing of its lanes.
 */
export const NO_LANES = Number.MAX_SAFE_INTEGER;

export interface StoredCheckpoint {
  readonly sequence: number;
  readonly state: CheckpointState;
}

export class CheckpointFile {
  readonly #disk: Disk;
  readonly #path: string;
  #fd = -1;
  #sequence = 0;
  readonly #slot = Buffer.alloc(SLOT);

  constructor(path: string, disk: Disk) {
    this.#disk = disk;
    this.#path = path;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** The newest whole checkpoint; `undefined`: the sink never had one. */
  read(): StoredCheckpoint | undefined {
    if (this.#fd < 0) {
      if (!this.#disk.exists(this.#path)) return undefined;
      this.#fd = this.#disk.open(this.#path, 'r+');
    }
    let newest: StoredCheckpoint | undefined;
    for (let slot = 0; slot < 2; slot++) {
      const found = this.#readSlot(slot);
      if (found !== undefined && (newest === undefined || found.sequence > newest.sequence)) newest = found;
    }
    if (newest !== undefined) this.#sequence = newest.sequence;
    return newest;
  }

  #readSlot(slot: number): StoredCheckpoint | undefined {
    const page = this.#slot;
    if (this.#disk.read(this.#fd, page, 0, SLOT, slot * SLOT) < SLOT || page.readUInt32LE(slotAt.magic) !== MAGIC)
      return undefined;
    const length = page.readUInt32LE(slotAt.length);
    if (length > SLOT - HEAD) return undefined;
    if (crc32(page.subarray(CHECKED_FROM, HEAD + length)) !== page.readUInt32LE(slotAt.crc)) return undefined;
    const format = page.readUInt32LE(slotAt.format);
    if (format !== FORMAT) throw new Error(`checkpoint: format must be ${FORMAT}: found=${format}, file=${this.#path}`);
    const state = JSON.parse(page.toString('utf8', HEAD, HEAD + length)) as CheckpointState;
    return { sequence: page.readUInt32LE(slotAt.sequence), state };
  }

  /** Stores a new checkpoint and syncs it. When this returns, it is durable; when it throws, the old one counts. */
  write(state: CheckpointState): void {
    const body = Buffer.from(JSON.stringify(state));
    if (body.length > SLOT - HEAD)
      throw new Error(`checkpoint: state must fit ${SLOT - HEAD} bytes: found=${body.length}, file=${this.#path}`);
    if (this.#fd < 0) {
      const fresh = !this.#disk.exists(this.#path);
      this.#fd = this.#disk.open(this.#path, fresh ? 'w+' : 'r+');
      if (fresh) this.#disk.write(this.#fd, Buffer.alloc(2 * SLOT), 0, 2 * SLOT, 0);
    }
    const sequence = this.#sequence + 1;
    const page = this.#slot.fill(0);
    page.writeUInt32LE(MAGIC, slotAt.magic);
    page.writeUInt32LE(FORMAT, slotAt.format);
    page.writeUInt32LE(sequence, slotAt.sequence);
    page.writeUInt32LE(body.length, slotAt.length);
    body.copy(page, HEAD);
    page.writeUInt32LE(crc32(page.subarray(CHECKED_FROM, HEAD + body.length)), slotAt.crc);
    this.#disk.write(this.#fd, page, 0, SLOT, (sequence % 2) * SLOT);
    this.#disk.fdatasync(this.#fd);
    this.#sequence = sequence;
  }

  close(): void {
    if (this.#fd >= 0) this.#disk.close(this.#fd);
    this.#fd = -1;
  }
}
