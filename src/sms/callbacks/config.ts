/** Options of callbacks. */
import { bool, type ConfigOf, defineConfig, duration, integer } from '../../kernel/config.ts';

export const callbacksConfig = defineConfig(
  'callbacks',
  {
    callbackAllowPrivate: bool({
      default: false,
      doc:
        'Whether callbacks may go to addresses that are not public (10.0.0.0/8, 127.0.0.1, fd00::/8 and so on). Leave ' +
        'it off where customers choose the URL: it would let them reach what only this machine reaches.',
    }),
    callbackTimeoutMs: duration({
      default: 5000,
      min: 100,
      max: 60_000,
      doc: 'Longest time from connecting to the end of the answer; then the callback is sent again later.',
    }),
    callbackConcurrency: integer({
      default: 256,
      min: 1,
      max: 2000,
      doc: 'Callbacks under way at once, in each process; at most 32 of them of one customer.',
    }),
    callbackRetryMs: duration({
      default: 86_400_000,
      min: 1000,
      max: 604_800_000,
      doc: 'For how long a callback is tried. Then it is given up, and counted.',
    }),
  },
  { prefix: 'CALLBACK_' },
);
export type CallbacksConfig = ConfigOf<typeof callbacksConfig>;
