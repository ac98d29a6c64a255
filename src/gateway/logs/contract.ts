/** Request logs, as GET /api/v1/logs answers them: plain types, which the page at /admin shares. */
export interface LogEntry {
  readonly id: number;
  readonly created_at: string;
  readonly user_id: number | null;
  readonly key_id: string | null;
  readonly backend_id: number | null;
  readonly request_id: string;
  readonly method: string;
  readonly request_path: string;
  readonly response_status: number;
  readonly outcome: string;
  readonly response_time_ms: number;
  readonly request_size_bytes: number;
  readonly response_size_bytes: number;
  readonly client_ip: string | null;
}

export interface LogsPage {
  readonly items: readonly LogEntry[];
  readonly next: string | null;
}
