/**
 * Loaded by every thread of a collector (NODE_OPTIONS=--import): its `http` sink becomes the gate sink of gate-sink.ts. The gate is one
 * word in shared memory that main makes and all threads get; main opens it when the file GATE_SIGN is there.
 */
import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { isMainThread, setEnvironmentData } from 'node:worker_threads';

const kind = new URL('./gate-sink.ts', import.meta.url).href;

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    return found.url.endsWith('/dist/sinks/http/sink.js')
      ? { ...found, url: kind, format: 'module-typescript' }
      : found;
  },
});

if (isMainThread) {
  const gate = new Int32Array(new SharedArrayBuffer(4));
  setEnvironmentData('gate', gate);
  setInterval(() => {
    if (Atomics.load(gate, 0) === 1 || !existsSync(process.env['GATE_SIGN'] as string)) return;
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
  }, 20).unref();
}
