DROP TABLE audit_lines, site_shares, user_sessions, users;
