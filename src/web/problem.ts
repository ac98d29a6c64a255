/** The part of a problem (RFC 9457) that the page reads. */
export interface Problem {
  readonly title?: string;
  readonly detail?: string;
  /** The row of the server's table of errors, such as LOGIN_REQUIRED. */
  readonly code?: string;
}
