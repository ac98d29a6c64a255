/** The tracker of Ringmain Analytics for a site that has a bundler: `import { start } from 'ringmain/tracker'`. */

export type Props = Readonly<Record<string, string | number | boolean>>;

/** Each may be a text as well, as data-* of an element are: 'false', '/admin/**,/login'. */
export interface Options {
  /** site_id of the events. Default: the host of the page. */
  readonly site?: string | undefined;
  /** Where events are sent: 'https://stats.example/events'. */
  readonly api: string;
  /** The page is named by the fragment too (#/users). Default: false. */
  readonly hash?: boolean | string | undefined;
  /** Page views are counted without being asked for. Default: true. */
  readonly auto?: boolean | string | undefined;
  /** Paths that nothing is sent from: `*` is any text without `/`, `**` any text. */
  readonly exclude?: readonly string[] | string | undefined;
  /** Do Not Track and Global Privacy Control of the browser are honoured. Default: true. */
  readonly dnt?: boolean | string | undefined;
  /** Clicks on links to other hosts are sent as `outbound_link`. Default: true. */
  readonly outbound?: boolean | string | undefined;
  /**
   * Endings of files whose links are sent as `file_download`; 'false': none. Default: common archives and documents.
   */
  readonly downloads?: readonly string[] | string | undefined;
}

/** Sends an event: `track('signup', { plan: 'pro' })`. `page_view` is a view of the page that is shown now. */
export type Track = (eventType: string, props?: Props) => void;

/** Begins to count the page. Call it once per page. */
export declare function start(options: Options): Track;
