/** A live view as a browser has it: reads server-sent events from a socket, and remembers when each came. */
import type { LiveTick } from '../../../src/analytics/api/contract.ts';

export interface Came extends LiveTick {
  /** By performance.now(). */
  readonly atMs: number;
}

export class Watcher {
  readonly ticks: Came[] = [];
  /** Data of `event: end`. */
  end: string | undefined;
  ended = false;
  readonly #controller = new AbortController();

  async open(url: string): Promise<Response> {
    const answer = await fetch(url, { signal: this.#controller.signal });
    if (answer.status === 200) void this.#read(answer.body!);
    return answer;
  }

  get last(): Came | undefined {
    return this.ticks.at(-1);
  }

  /** The first tick that shows an event of this path. */
  showing(path: string): Came | undefined {
    return this.ticks.find(({ last }) => last.some((event) => event.path === path));
  }

  close(): void {
    this.#controller.abort();
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let text = '';
    try {
      for await (const chunk of body) {
        text += decoder.decode(chunk, { stream: true });
        const parts = text.split('\n\n');
        text = parts.pop()!;
        for (const part of parts) this.#take(part);
      }
    } catch {
      // Closed by this side, or broken off.
    }
    this.ended = true;
  }

  #take(part: string): void {
    const fields = new Map(
      part.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    );
    const data = JSON.parse(fields.get('data') ?? 'null') as unknown;
    if (fields.get('event') === 'live') this.ticks.push({ ...(data as LiveTick), atMs: performance.now() });
    else if (fields.get('event') === 'end') this.end = data as string;
  }
}
