-- Postgres of the local stack, run once by the image's entry point in the database `ringmain`. Roles: `ringmain` owns the tables and writes,
-- `analyst` reads. The passwords are those of docker-compose.yml and for this machine only.
-- The tables are those that Ringmain itself would make (PG_CREATE_TABLE, PG_GIN=ops); a test compares the two.
CREATE ROLE ringmain LOGIN PASSWORD 'ringmain-local';
CREATE ROLE analyst LOGIN PASSWORD 'analyst-local';
DO $$ BEGIN EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO ringmain', current_database()); END $$;
GRANT USAGE, CREATE ON SCHEMA public TO ringmain;
GRANT USAGE ON SCHEMA public TO analyst;

SET ROLE ringmain;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO analyst;
CREATE TABLE events_json (
  id bigserial PRIMARY KEY,
  event_id uuid UNIQUE NOT NULL,
  ts timestamptz NOT NULL DEFAULT now(),
  payload jsonb NOT NULL
);
CREATE INDEX ON events_json (ts);
CREATE INDEX ON events_json USING gin (payload);

-- The analysts' views; `ringmain` owns them and so may refresh them. The folder ../sql is mounted beside this file.
\ir sql/01_functions.sql
\ir sql/02_views.sql
\ir sql/03_funnels.sql
\ir sql/04_processor.sql
RESET ROLE;
