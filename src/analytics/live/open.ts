/** The live view on one acceptor. */
import type { HttpRequest } from 'uWebSockets.js';
import { Cors } from '../../http/cors.ts';
import type { Route } from '../../http/router.ts';
import type { AcceptorFrame } from '../../service/contract.ts';
import type { AnalyticsShared, AnalyticsValues } from '../analytics.ts';
import { siteIn } from '../api/routes.ts';
import { liveMetrics } from './metrics.ts';
import { LiveViews, type Permitted } from './route.ts';

export interface Live {
  readonly route: Route;
  drain(): void;
}

export interface LiveAccess {
  /** Rejects for who may not read the site. */
  permit(req: HttpRequest, siteId: string): Promise<Permitted>;
  names(siteId: string): readonly string[];
}

export function openLive(frame: AcceptorFrame<AnalyticsValues, AnalyticsShared>, access: LiveAccess): Live {
  const { ask, values } = frame;
  const streams = frame.meters(liveMetrics).ringmain_live_streams.at();
  const cors = new Cors(values.http.corsOrigins);
  const views = new LiveViews({ ...access, ask, cors, told: (open) => streams.set(open) });
  return {
    route: views.route('/api/sites/:site/live', siteIn),
    drain: () => views.end('the server is being stopped'),
  };
}
