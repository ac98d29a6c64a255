-- How operators stand in each worker process, told every few seconds, for the page of reports (operators/states.ts).
CREATE TABLE sms_operator_states (
  process uuid NOT NULL,
  operator text COLLATE "C" NOT NULL,
  up boolean NOT NULL,
  breaker text NOT NULL CHECK (breaker IN ('closed', 'half_open', 'open')),
  in_flight integer NOT NULL,
  told_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (process, operator)
);
