/**
 * Messages: sms_raw read as one row per message, whatever came twice, late or in another order. The state of a message
 * is the furthest that was told of it since it was last sent again; its cost is what its customer pays in that state.
 */

/** Later in this list wins: who does not know is told at last, and an operator that had it may fail to deliver it. */
const ranks = ['accepted', 'unknown', 'sent', 'failed', 'delivered'] as const;

const rank = `resends * 8 + indexOf([${ranks.map((state) => `'${state}'`).join(', ')}], status)`;

/**
 * A SELECT of the messages that `where` picks from sms_raw:
 *
 *   m_sent     the operator took it: sent or delivered was told. Such a message is not sent again
 *   m_cost     0 where it failed without being sent, for that is refunded, and older builds told the price; else what
 *              its last state says
 *   m_*_at     ms since 1970; 0: not told. m_began_at: when it was accepted, or last sent again
 *
 * The table is in the order of this GROUP BY, so that ClickHouse holds a few messages at a time, however many there
 * are.
 */
export const messagesWhere = (where: string): string => `
  SELECT minute, customer_id, message_id,
    any(type) AS m_type,
    argMax(status, ${rank}) AS m_status,
    argMax(operator, ${rank}) AS m_operator,
    argMax(reason, ${rank}) AS m_reason,
    max(attempts) AS m_attempts,
    max(segments) AS m_segments,
    min(accepted_at) AS m_accepted_at,
    greatest(m_accepted_at, maxIf(at, status = 'accepted')) AS m_began_at,
    minIf(at, status = 'sent') AS m_sent_at,
    minIf(at, status = 'delivered') AS m_delivered_at,
    countIf(status IN ('sent', 'delivered')) > 0 AS m_sent,
    if(m_status = 'failed' AND NOT m_sent, 0, argMax(cost, ${rank})) AS m_cost
  FROM sms_raw WHERE ${where}
  GROUP BY minute, customer_id, message_id`;

export const inOrder = 'SETTINGS optimize_aggregation_in_order = 1';
