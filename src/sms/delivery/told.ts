/** What a worker, and whoever takes receipts, count on the metrics board. */
import type { Told } from './delivery.ts';
import type { DeliveryMeters, HandOverMeters } from './metrics.ts';
import type { Settlement } from './outcomes.ts';
import type { Judged } from './promise.ts';

export function tellMeters(cells: DeliveryMeters, handOvers: HandOverMeters): Told {
  const handOver = tellHandOver(handOvers);
  return {
    attempted: ({ lane }, { kind }) => cells.ringmain_sms_attempts_total.at({ lane, result: kind }).add(1),
    recorded(held, gone) {
      if (held > 0) cells.ringmain_sms_held_found_total.at().add(held);
      if (gone > 0) cells.ringmain_sms_duplicates_total.at().add(gone);
    },
    settled: (lane, outcome) => cells.ringmain_sms_outcomes_total.at({ lane, outcome }).add(1),
    handOver,
  };
}

function tellHandOver(cells: HandOverMeters): (judged: Judged) => void {
  return ({ lane, tookMs, late }) => {
    if (tookMs !== undefined) cells.ringmain_sms_accept_to_operator_seconds.at({ lane }).observe(tookMs / 1000);
    if (late) cells.ringmain_sms_express_missed_total.at().add(1);
  };
}

/** Of receipts: what was proven first by one. */
export function tellReceipts(cells: HandOverMeters): (settled: Settlement) => void {
  const handOver = tellHandOver(cells);
  return (settled) => {
    for (const judged of settled.values()) handOver(judged);
  };
}
