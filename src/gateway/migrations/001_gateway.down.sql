DROP TABLE gateway_changes, audit_log, cache_purges, upload_owners, uploads, request_logs, ip_whitelist, quota_messages, usage_months, quotas,
  rate_limits, backends, api_keys, users;
DROP FUNCTION note_row_change, note_network_changes, note_disowned, note_gateway_change;
