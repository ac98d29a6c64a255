CREATE TABLE notes (id text PRIMARY KEY, text text NOT NULL, writes integer NOT NULL DEFAULT 1);
CREATE TABLE note_counts (n bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
