/** Routes of the role `reporting`. */
import type { Acceptor } from '../../service/contract.ts';
import { boundedBy, ids, type SmsShared } from '../bounded.ts';
import { openCallers } from '../customers/callers.ts';
import { REPORT_CALLERS_WORKER } from '../customers/questions.ts';
import type { SmsValues } from '../sms.ts';
import { reportsMetrics } from './metrics.ts';
import { clickHousePlace } from './place.ts';
import { reportRoutes } from './routes.ts';

export default {
  async open(frame) {
    const { values } = frame;
    if (values.reports.reports === 'off') {
      // No alert for what nobody wants.
      frame.meters(reportsMetrics).ringmain_sms_reports_up.at().set(1);
      return { routes: [] };
    }
    const callers = await openCallers(frame, REPORT_CALLERS_WORKER);
    // With its client of HTTP: only where there are reports.
    const { ClickHouse } = await import('../../store/clickhouse/client.ts');
    const client = new ClickHouse(clickHousePlace(values));
    return {
      routes: ids.marked(reportRoutes(frame, client, callers.callerOf, boundedBy(frame))),
      close: () => {
        callers.close();
        void client.close();
      },
    };
  },
} satisfies Acceptor<SmsValues, SmsShared>;
