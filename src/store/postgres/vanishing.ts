/**
 * Vanishing: how long the server keeps what a session holds whose host says no good-bye (power, a cut line, a frozen
 * machine). Without these settings it keeps rows and advisory locks for as long as its TCP does: two hours.
 */
const SILENT_S = 10;
const ASK_S = 5;
const ASKS = 3;

/** For sessions with locks of their own. The server asks a silent host whether it lives, and ends the session. */
export const silentHost = {
  tcp_keepalives_idle: SILENT_S,
  tcp_keepalives_interval: ASK_S,
  tcp_keepalives_count: ASKS,
  tcp_user_timeout: 1000 * (SILENT_S + ASKS * ASK_S),
} as const;

/** For sessions that also lock rows which others wait for: `idleMs` bounds a process that hangs while its host is well. */
export const vanishing = (idleMs: number) => ({ ...silentHost, idle_in_transaction_session_timeout: idleMs }) as const;

/** For tools and jobs: in their transactions nothing is waited for but the database. */
export const passing = vanishing(10_000);
