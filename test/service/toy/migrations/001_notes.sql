CREATE TABLE notes (id text PRIMARY KEY, text text NOT NULL, writes integer NOT NULL DEFAULT 1);
CREATE TABLE note_counts (at timestamptz NOT NULL, notes bigint NOT NULL);
