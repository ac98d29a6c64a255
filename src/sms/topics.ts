/**
 * Topics and records: what leaves the database for the rest of the pipeline. The relay (outbox/) publishes each as a
 * record of a kind of its own; outputs carry it to the topic of that kind, or to its reader where there is no Kafka.
 *
 *   sms.accepted   a message was accepted            for reports
 *   sms.delivery   a normal message is to be sent    for workers; key = customer
 *   sms.express    an express message is to be sent  for workers; key = customer
 *   sms.status     a message changed its state       for reports
 *
 * In Kafka KAFKA_PREFIX stands before these names.
 */
export const ACCEPTED_KIND = 48;
export const DELIVERY_KIND = 49;
export const EXPRESS_KIND = 50;
export const STATUS_KIND = 51;

export const topics = ['sms.accepted', 'sms.delivery', 'sms.express', 'sms.status'] as const;
export type TopicName = (typeof topics)[number];

/** What reports are made of, and the consumer group that reads it: the role reporting, or ClickHouse by itself. */
export const reportTopics = ['sms.accepted', 'sms.status'] as const satisfies readonly TopicName[];
export const REPORTS_GROUP = 'sms-reporting';

export const kindOf: Readonly<Record<TopicName, number>> = {
  'sms.accepted': ACCEPTED_KIND,
  'sms.delivery': DELIVERY_KIND,
  'sms.express': EXPRESS_KIND,
  'sms.status': STATUS_KIND,
};

/**
 * A record as a line of a row of sms_outbox: key, tab, JSON. A row holds several lines of one topic, so that a group of
 * hundreds of messages costs the database a few rows. Neither a key nor JSON has a raw tab or newline.
 */
export const outboxLine = (key: string, json: string): string => `${key}\t${json}`;

/** The records of a row of sms_outbox, in order. Throws a TypeError for a line that no outboxLine() has made. */
export function readOutbox(records: string): { readonly key: string; readonly json: string }[] {
  return records.split('\n').map((line) => {
    const tab = line.indexOf('\t');
    if (tab < 0) throw new TypeError('a line of sms_outbox must be a key, a tab and JSON');
    return { key: line.slice(0, tab), json: line.slice(tab + 1) };
  });
}

/** Value of sms.accepted. Times are ms since 1970; cost in the unit of COST_PER_SMS. */
export interface AcceptedRecord {
  readonly message_id: string;
  readonly customer_id: string;
  readonly type: 'normal' | 'express';
  readonly segments: number;
  readonly cost: number;
  readonly at: number;
}

/** Value of sms.delivery and sms.express. */
export interface DeliveryRecord {
  readonly message_id: string;
  readonly customer_id: string;
  readonly to: string;
  readonly sender: string;
  readonly text: string;
  readonly type: 'normal' | 'express';
  readonly segments: number;
  readonly cost: number;
  readonly at: number;
  readonly valid_until: number;
}

/** Value of sms.status. `accepted`: it was sent again by command. */
export interface StatusRecord {
  readonly message_id: string;
  readonly customer_id: string;
  readonly type: 'normal' | 'express';
  readonly status: 'accepted' | 'sent' | 'delivered' | 'failed' | 'unknown';
  readonly operator: string | null;
  readonly reason: string | null;
  readonly attempts: number;
  /** How often it has been sent again: a state that is told with a higher number is the later one. */
  readonly resends: number;
  readonly segments: number;
  /** What its customer pays in this state: 0 once its money has been given back. */
  readonly cost: number;
  /** When it was accepted, and when this state began. */
  readonly accepted_at: number;
  readonly at: number;
}
