/** Routes of the API: each area opens what it has. */
import type { Acceptor } from '../service/contract.ts';
import { openAccept } from './accept/open.ts';
import type { Area } from './area.ts';
import { boundedBy, ids, type SmsShared } from './bounded.ts';
import { openCallers } from './customers/callers.ts';
import { CUSTOMERS_WORKER } from './customers/questions.ts';
import { openCustomers } from './customers/routes.ts';
import { deskOf } from './receipts/desk.ts';
import { openReceipts } from './receipts/open.ts';
import type { SmsValues } from './sms.ts';

export default {
  async open(frame) {
    const callers = await openCallers(frame, CUSTOMERS_WORKER);
    const bounded = boundedBy(frame);
    const areas: readonly Area[] = [
      openAccept(frame, callers.callerOf, bounded),
      openCustomers(frame, callers.callerOf, bounded),
      openReceipts(frame, deskOf(frame), bounded),
    ];
    return {
      routes: ids.marked(areas.flatMap(({ routes }) => routes)),
      gauges: () => {
        for (const area of areas) area.gauges?.();
      },
      drain: () => {
        for (const area of areas) area.drain?.();
      },
      close: () => {
        for (const area of areas) area.close?.();
        callers.close();
      },
    };
  },
} satisfies Acceptor<SmsValues, SmsShared>;
