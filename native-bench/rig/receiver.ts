/**
 * A receiver for the HTTP sink, and a file of what it has accepted: a target that is away until somebody opens it. The file is
 * synced before the answer, so that a 2xx of it means what the sink takes it for.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';

export interface Receiver {
  /** What a server needs to send here. */
  readonly env: Record<string, string>;
  readonly log: string;
  /** From now on it answers; until then connections are refused. */
  open(): Promise<void>;
  close(): Promise<void>;
}

export function receiver(port: number, log: string): Receiver {
  const file = openSync(log, 'a');
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      writeSync(file, Buffer.concat(chunks));
      fdatasyncSync(file);
      response.writeHead(204).end();
    });
  });
  return {
    env: { OUTPUTS: 'http', HTTP_SINK_URL: `http://127.0.0.1:${port}/` },
    log,
    open: () => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve)),
    close: async () => {
      if (server.listening) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
      closeSync(file);
    },
  };
}
