-- Locked before the sums are looked at, so that none grows out of range in between.
LOCK TABLE rollups;
DO $$
DECLARE
  far bigint;
BEGIN
  SELECT count(*) INTO far FROM rollups WHERE greatest(events, views, visits, bounces, firsts) > 2147483647;
  IF far > 0 THEN
    RAISE EXCEPTION 'sums of rollups must fit into integer columns: % rows are beyond 2147483647', far
      USING ERRCODE = 'numeric_value_out_of_range', HINT = 'stay at this version: the older one refuses such sums';
  END IF;
END
$$;
ALTER TABLE rollups
  ALTER COLUMN events TYPE integer,
  ALTER COLUMN views TYPE integer,
  ALTER COLUMN visits TYPE integer,
  ALTER COLUMN bounces TYPE integer,
  ALTER COLUMN firsts TYPE integer;
