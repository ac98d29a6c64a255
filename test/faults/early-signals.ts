/** Loaded by a collector (NODE_OPTIONS=--import): sends itself SIGHUP and SIGTERM before the first file of a service is loaded. */
import { registerHooks } from 'node:module';
import { isMainThread } from 'node:worker_threads';

let sent = !isMainThread;

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    if (!sent && found.url.endsWith('/dist/service/command.js')) {
      sent = true;
      process.kill(process.pid, 'SIGHUP');
      process.kill(process.pid, 'SIGTERM');
    }
    return found;
  },
});
