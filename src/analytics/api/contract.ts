/**
 * Contract: what the dashboard asks and what it gets. Types alone, without imports, so that the browser's code takes
 * them with `import type`. The schemas that answers are written by (schemas.ts) are held against these types.
 *
 *   GET  /api/sites                           SitesAnswer
 *   GET  /api/sites/:id/summary               SummaryAnswer      SiteQuery
 *   GET  /api/sites/:id/timeseries            TimeseriesAnswer   TimeseriesQuery
 *   GET  /api/sites/:id/breakdown             BreakdownAnswer    BreakdownQuery
 *   GET  /api/sites/:id/export                CSV or JSON        ExportQuery
 *   GET  /api/sites/:id/live                  text/event-stream of LiveTick
 *   GET  /api/sites/:id/goals                 GoalsAnswer
 *   POST /api/sites/:id/goals                 201 Goal           NewGoal
 *   DELETE /api/sites/:id/goals/:goal         204
 *   GET|PATCH /api/sites/:id                  Site               { time_zone }
 *
 *   POST /api/login                           MeAnswer           Login; sets the cookie of the session
 *   POST /api/logout                          204                ends the session, clears its cookie
 *   GET  /api/me                              MeAnswer
 *   GET  /api/sites/:id/shares                SharesAnswer       owners
 *   POST /api/sites/:id/shares                201 MadeShare      NewShare; owners
 *   DELETE /api/sites/:id/shares/:share       204                owners
 *   POST /api/share/unlock                    204                Unlock; sets a cookie for this link alone
 *
 * Who is asked to log in gets 401 LOGIN_REQUIRED, who opens a link with a password 401 SHARE_LOCKED, a link that is
 * not valid (any more) 401 SHARE_INVALID. 429 has Retry-After. Every POST, PATCH and DELETE of somebody who is logged
 * in sends `X-CSRF-Token: csrf` (MeAnswer), and bodies are application/json.
 *
 * Refusals are problems (RFC 9457, application/problem+json) everywhere. `:id` is the site_id, percent-encoded.
 * Rates and shares are fractions of 1, durations are seconds, dates and times are those of the answer's time zone.
 */

/**
 * Whole days of the time zone. `7d` and `30d` end today; `month` and `year` are those of the calendar; `all` begins
 * with the first event.
 */
export type Period = 'today' | 'yesterday' | '7d' | '30d' | 'month' | 'last_month' | 'year' | 'all' | 'custom';

/** `previous`: the stretch of the same length before. `year`: the same dates a year before. Default: previous. */
export type Compare = 'previous' | 'year' | 'none';

export type FilterOp = 'is' | 'is_not' | 'contains' | 'contains_not' | 'matches' | 'matches_not';

/** Dimensions whose values are listed. */
export type PlainDimension =
  | 'path'
  | 'entry_page'
  | 'exit_page'
  | 'referrer'
  | 'source'
  | 'utm_source'
  | 'utm_medium'
  | 'utm_campaign'
  | 'utm_term'
  | 'utm_content'
  | 'country'
  | 'region'
  | 'device'
  | 'browser'
  | 'os'
  | 'event_type';

/**
 *   goal                 names of the site's goals
 *   prop:EVENT           keys of the properties of events of this type
 *   prop:EVENT:KEY       values of one of them; EVENT and KEY are percent-encoded where they contain `:` or `%`
 */
export type Dimension = PlainDimension | 'goal' | `prop:${string}`;

/**
 * The value is one of `values` (is), contains one (contains), fits a pattern (matches: `*` is any text without `/`,
 * `**` any text); with `_not`: of none of them. Letters count as they are. '' is a missing value. `prop:EVENT` is not
 * filtered by; `goal` takes `is` and `is_not`.
 */
export type Filter = readonly [op: FilterOp, dimension: Dimension, values: readonly string[]];

/** bounce_rate: of visits. engaged_time: seconds somebody really looked, per visit; of a page, per view. */
export type Metric =
  | 'visitors'
  | 'visits'
  | 'views'
  | 'views_per_visit'
  | 'bounce_rate'
  | 'visit_duration'
  | 'events'
  | 'engaged_time';

/** `quarter` is a quarter of an hour. Weeks begin on Monday. */
export type Interval = 'quarter' | 'hour' | 'day' | 'week' | 'month';

/** Parameters of the query that all questions about a site share; each is text there. */
export interface SiteQuery {
  /** Default: 30d. */
  readonly period?: Period;
  /** With `custom`: YYYY-MM-DD, both included. */
  readonly from?: string;
  readonly to?: string;
  readonly compare?: Compare;
  /** JSON of Filter[]; all of them must hold. */
  readonly filters?: string;
  /** IANA name; default: the time zone of the site. */
  readonly tz?: string;
  /** Token of a share link. */
  readonly share?: string;
}

export interface TimeseriesQuery extends SiteQuery {
  /** Default: visitors. */
  readonly metric?: Metric;
  /** Default: hour up to two days, day up to three months, else week up to two years, else month. */
  readonly interval?: Interval;
}

export interface BreakdownQuery extends SiteQuery {
  readonly dimension: Dimension;
  /** What rows are ordered by, descending. Default: visitors. */
  readonly order?: Metric;
  /** Rows of a page, 1 to 1000. Default: 10. */
  readonly limit?: string;
  /** From 1. */
  readonly page?: string;
  /** Rows whose value contains this text alone, in large or small letters. */
  readonly search?: string;
}

export interface ExportQuery extends SiteQuery {
  readonly format: 'csv' | 'json';
  /** Without it: the series, with all metrics. */
  readonly dimension?: Dimension;
  /** With `dimension`: as in a breakdown. */
  readonly search?: string;
  readonly interval?: Interval;
}

/** Dates, both included. `until`: only up to this local time of `to` (YYYY-MM-DDTHH:MM), for it is not over yet. */
export interface Dates {
  readonly from: string;
  readonly to: string;
  readonly until: string | null;
}

export interface Me {
  readonly user: string;
  readonly role: 'owner' | 'viewer';
}

export interface MeAnswer {
  /** null: nobody is logged in. */
  readonly me: Me | null;
  /** Value of the header X-CSRF-Token; null: nobody is logged in, none is needed. */
  readonly csrf: string | null;
  /** Everybody may see everything: ACCESS=open, or this machine alone and no users yet. */
  readonly open: boolean;
}

export interface Login {
  readonly user: string;
  readonly password: string;
}

/** A link that shows one site: the page `/?share=TOKEN`. */
export interface Share {
  readonly id: string;
  readonly label: string;
  /** RFC 3339. */
  readonly created_at: string;
  /** null: it does not expire. */
  readonly expires_at: string | null;
  /** It asks for a password. */
  readonly locked: boolean;
}

export interface NewShare {
  readonly label?: string;
  readonly password?: string;
  /** RFC 3339. */
  readonly expires_at?: string;
}

export interface MadeShare extends Share {
  /** Shown this once. */
  readonly token: string;
}

export interface SharesAnswer {
  readonly shares: readonly Share[];
}

export interface Unlock {
  /** Token of the link. */
  readonly share: string;
  readonly password: string;
}

export interface Site {
  readonly site_id: string;
  readonly time_zone: string;
  /** RFC 3339. */
  readonly created_at: string;
  /** It has events of people, or imported days. false: it waits for its first event. */
  readonly has_events: boolean;
  /** It has events, and all of them are of bots, which count apart. */
  readonly bots_only: boolean;
}

/** Where the script is, and where events go: TRACKER_PATH and EVENTS_PATH. */
export interface Paths {
  readonly tracker: string;
  readonly events: string;
}

export interface SitesAnswer {
  /** null: nobody is logged in; then `sites` are those that everybody may see, or those of the key. */
  readonly me: Me | null;
  readonly sites: readonly Site[];
  readonly paths: Paths;
}

export interface Figure {
  readonly value: number;
  /** null: nothing is compared. */
  readonly previous: number | null;
  /** Of `previous`, as a fraction; of bounce_rate the difference. null: nothing is compared, or it was 0. */
  readonly change: number | null;
  /** Standard error of an estimate, in the unit of the value; null: the value is exact. */
  readonly error: number | null;
}

/** Events and views of crawlers and headless browsers, which count nowhere else. */
export interface Bots {
  readonly events: number;
  readonly views: number;
}

export interface SummaryAnswer extends Dates {
  readonly site_id: string;
  readonly time_zone: string;
  /** The comparison ends where a running period has got to. */
  readonly compare: Dates | null;
  readonly metrics: Readonly<Record<Metric, Figure>>;
  /** null under filters: bots have no visits to filter by. */
  readonly bots: Bots | null;
  /** Names of the regions that the filters name, by their codes, as far as they are known. */
  readonly names: Readonly<Record<string, string>>;
  /** Sentences about these numbers that a reader should see: estimates, upper bounds. */
  readonly notes: readonly string[];
}

export interface Point {
  /** Local begin: YYYY-MM-DD, or YYYY-MM-DDTHH:MM for hours and quarters. */
  readonly at: string;
  /** null: it lies ahead. */
  readonly value: number | null;
  /** It is not over yet. */
  readonly running?: true;
}

export interface TimeseriesAnswer extends Dates {
  readonly site_id: string;
  readonly time_zone: string;
  readonly metric: Metric;
  readonly interval: Interval;
  readonly points: readonly Point[];
  readonly compare: Dates | null;
  /** The whole comparison; its n-th point stands behind the n-th point. It may be longer or shorter. */
  readonly previous: readonly Point[] | null;
  readonly notes: readonly string[];
}

/**
 * Columns of breakdowns; `metrics` of an answer says which it has. Those of `goal` have `conversions` and
 * `conversion_rate`; keys of properties (`prop:EVENT`) have events alone.
 */
export type BreakdownMetric = Metric | 'conversions' | 'conversion_rate';

export interface BreakdownRow extends Readonly<Partial<Record<BreakdownMetric, number>>> {
  readonly value: string;
  /** Of a region: what it is called, where that is known. */
  readonly name?: string;
  /** Of the visitors of the whole period (under the filters), 0 to 1; null: nobody was there. */
  readonly share: number | null;
  /** Standard error of `visitors`; null: they are exact. */
  readonly error: number | null;
}

export interface BreakdownAnswer extends Dates {
  readonly site_id: string;
  readonly time_zone: string;
  readonly dimension: Dimension;
  /** What each row has, in the order of columns. */
  readonly metrics: readonly BreakdownMetric[];
  readonly rows: readonly BreakdownRow[];
  /** Values beyond DIMENSION_VALUES_MAX of their days, together; null: there are none. Its `value` is "(other)". */
  readonly other: BreakdownRow | null;
  /** How many values there are in all. */
  readonly total: number;
  /** There are rows behind this page. */
  readonly more: boolean;
  readonly notes: readonly string[];
}

/** Export without a dimension: all metrics of each interval that is not ahead. */
export interface SeriesRow extends Readonly<Record<Metric, number>> {
  readonly at: string;
  /** Standard error of `visitors`; null: they are exact. */
  readonly error: number | null;
}

export interface SeriesAnswer extends Dates {
  readonly site_id: string;
  readonly time_zone: string;
  readonly interval: Interval;
  readonly rows: readonly SeriesRow[];
}

/** `event`: any event of the type `match`. `path`: a page_view whose path fits the pattern `match` (as in filters). */
export type GoalKind = 'event' | 'path';

export interface NewGoal {
  readonly kind: GoalKind;
  readonly match: string;
  /** What it is called; default: `match`. */
  readonly name?: string;
}

export interface Goal extends Required<NewGoal> {
  readonly id: number;
}

export interface GoalsAnswer {
  readonly goals: readonly Goal[];
}

/** An event that has just come. */
export interface LiveEvent {
  /** RFC 3339. */
  readonly at: string;
  readonly event_type: string;
  readonly path: string | null;
  readonly country: string | null;
  readonly device: string | null;
}

/**
 * Data of `event: live`: sent once when the stream begins and at most four times a second while something moves, else
 * every few seconds. The stream may end with `event: end` (data: a reason); EventSource then asks again by itself.
 */
export interface LiveTick {
  /** Who had an event in the last five minutes, or since somebody looks when that is shorter. */
  readonly visitors: number;
  /** Seconds that `visitors` are counted over, up to 300. */
  readonly window_s: number;
  /** Mean of the last ten seconds. */
  readonly events_per_second: number;
  /**
   * Of the first tick, and of those that come while the past of the site is still being read: what it was in each of the
   * last seconds, 90 at most, the newest last.
   */
  readonly rates?: readonly number[];
  /** What came since the tick before, the newest first; at most 20. */
  readonly last: readonly LiveEvent[];
}
