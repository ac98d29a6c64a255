-- Partitions that were taken out of their table, and what became of them. A row is written in the transaction that
-- detaches; whoever finds one that is not dropped goes on with it.
CREATE TABLE sms_archives (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Of which table, and of which day (UTC). The detached table is named <parent>_<YYYYMMDD>_closed_<id>.
  parent text NOT NULL,
  day date NOT NULL,
  state text NOT NULL DEFAULT 'detached' CHECK (state IN ('detached', 'archived', 'dropped')),
  detached_at timestamptz NOT NULL DEFAULT now(),
  -- Of the archive: the file below ARCHIVE_DIR, on which host, its rows, and the SHA-256 of what they say.
  file text,
  host text,
  row_count bigint,
  sha256 bytea,
  archived_at timestamptz,
  dropped_at timestamptz,
  CHECK (state = 'detached' OR (file IS NOT NULL AND row_count IS NOT NULL AND sha256 IS NOT NULL))
);
CREATE INDEX sms_archives_open ON sms_archives (id) WHERE state <> 'dropped';
