/** Runs autocannon with the requests of its one argument and prints a reply in our form. */
import { createRequire } from 'node:module';

interface Outcome {
  '2xx': number;
  non2xx: number;
  errors: number;
  timeouts: number;
  duration: number;
  latency: { p50: number; p99: number; p99_9: number; max: number };
}

// autocannon has no type declarations.
const autocannon = createRequire(import.meta.url)('autocannon') as (options: unknown) => Promise<Outcome>;
const task = JSON.parse(process.argv[2]!) as {
  requests: { path: string; method: string; headers: unknown; body?: string }[];
};
const outcome = await autocannon(task);
console.log(
  JSON.stringify({
    answered: outcome['2xx'] + outcome.non2xx,
    refused: outcome.non2xx,
    failed: outcome.errors + outcome.timeouts,
    durationUs: outcome.duration * 1e6,
    p50Us: outcome.latency.p50 * 1e3,
    p99Us: outcome.latency.p99 * 1e3,
    p999Us: outcome.latency.p99_9 * 1e3,
    maxUs: outcome.latency.max * 1e3,
  }),
);
