/** Pauses of the garbage collector, out of the lines of --trace-gc. */

export interface Pause {
  /** Since the start of its thread. */
  readonly seconds: number;
  readonly ms: number;
}

/** Threads are told apart by their isolate only, all are taken. */
export function gcPauses(text: string): Pause[] {
  return [
    ...text.matchAll(
      /^\[\d+:0x[0-9a-f]+(?::\d+)?\]\s+(\d+) ms: (?:Scavenge|Mark-Compact)\b.*? MB(?:, pooled: [^,]*MB)?, ([\d.]+) \/ /gm,
    ),
  ].map((match) => ({
    seconds: Number(match[1]) / 1000,
    ms: Number(match[2]),
  }));
}
