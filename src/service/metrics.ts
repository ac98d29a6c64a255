/** Frame metrics: what every acceptor counts, whatever its routes are. Labels come from closed lists. */
import { closeReasons } from '../http/hold-back.ts';
import { CellTally, routerNames, statusClasses, type Tally } from '../http/tally.ts';
import { counter, defineMetrics, gauge, type Meters } from '../kernel/metrics.ts';

/** `routes`: names of the role's routes, without those that the frame itself answers. */
export function frameMetrics(routes: readonly string[]) {
  const [preflight, other] = routerNames;
  return defineMetrics({
    requests_total: counter({
      help: 'Requests answered, by route and status class; 429 is separate.',
      labels: { route: [...routes, preflight, 'ops', other] as readonly string[], status: statusClasses },
    }),
    ringmain_http_connections: gauge({ help: 'Open connections.' }),
    ringmain_http_connections_shed_total: counter({
      help: 'Connections closed at once because of MAX_CONNECTIONS.',
      told: { level: 'warn', sentence: 'closing new connections at once: MAX_CONNECTIONS is reached' },
    }),
    ringmain_http_connections_closed_total: counter({
      help:
        'Connections closed for fairness: pipelined more than their share of a turn, or sent requests without reading ' +
        'the answers.',
      labels: { reason: closeReasons },
      told: { level: 'warn', sentence: 'closing connections that pipeline too much or do not read answers' },
    }),
    ringmain_http_body_bytes: gauge({ help: 'Memory held by bodies in flight.' }),
  });
}
export type FrameMeters = Meters<ReturnType<typeof frameMetrics>>;

/** The tally of each route by its name, made once. A name that is not in the list is a RangeError. */
export function talliesOf(meters: FrameMeters): (route: string) => Tally {
  const tallies = new Map<string, Tally>();
  return (route) => {
    let tally = tallies.get(route);
    if (tally === undefined) {
      tally = new CellTally((status) => meters.requests_total.at({ route, status }));
      tallies.set(route, tally);
    }
    return tally;
  };
}
