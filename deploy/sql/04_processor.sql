-- For processors that read the topic and write rows one by one (deploy/local/connect.yml). Ringmain's own Postgres sink does not need it.

-- What jsonb refuses, with the reason: nothing that was in the topic is lost, and one bad event does not stop its partition.
CREATE TABLE IF NOT EXISTS ringmain_refused (
  at timestamptz NOT NULL DEFAULT now(),
  reason text NOT NULL,
  line text NOT NULL
);

-- Stores one event line once, however often it comes.
CREATE OR REPLACE FUNCTION ringmain_store(line text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE event jsonb;
BEGIN
  BEGIN
    event := line::jsonb;
    INSERT INTO events_json (event_id, ts, payload)
    VALUES ((event->>'event_id')::uuid, (event->>'ts')::timestamptz, event) ON CONFLICT (event_id) DO NOTHING;
  EXCEPTION
    -- Only what is wrong with the event itself (classes 22, 23, 54): a database in trouble must be met by trying again.
    WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
      INSERT INTO ringmain_refused (reason, line) VALUES (SQLERRM, ringmain_store.line);
  END;
END $$;
