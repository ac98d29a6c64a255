-- What jobs found last, which every process shows: the one that ran a job may be gone, and another may run it next.
CREATE TABLE sms_findings (
  name text PRIMARY KEY,
  value bigint NOT NULL,
  found_at timestamptz NOT NULL DEFAULT now()
);
