-- What the views share. Everything here is IMMUTABLE or an aggregate; nothing reads a table.

-- Host of a URL, lower case, without user and port; '' when there is none. What strangers send is cut, here and below: a longer key
-- would not fit into the unique indexes (2,704 bytes), and one such event would end every refresh.
CREATE OR REPLACE FUNCTION ringmain_host(url text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT left(coalesce(lower(substring(url FROM '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(\[[0-9A-Fa-f:.]*\]|[^/?#:]*)')), ''), 200)
$$;

-- Path of a URL without query and fragment; '/' when it is empty, '' when there is no URL.
CREATE OR REPLACE FUNCTION ringmain_path(url text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT left(CASE WHEN url IS NULL THEN '' ELSE
    coalesce(nullif(substring(url FROM '^(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?([^?#]*)'), ''), '/') END, 400)
$$;

-- How many steps of a funnel a visitor took, in this order, within `span` of the first one; other events may lie between.
-- state[i] is the start of the latest chain that has reached step i: starting later only leaves more time, so one value per
-- step is enough, and one pass over the visitor's events in order of time finds the best chain of all.
CREATE OR REPLACE FUNCTION ringmain_funnel_step(state timestamptz[], event text, at timestamptz, steps text[], span interval)
RETURNS timestamptz[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  -- From the last step to the first, so that one event does not take two steps of the same name.
  FOR i IN REVERSE cardinality(steps) .. 1 LOOP
    IF steps[i] = event THEN
      IF i = 1 THEN
        state[1] := at;
      ELSIF state[i - 1] IS NOT NULL AND at <= state[i - 1] + span THEN
        state[i] := state[i - 1];
      END IF;
    END IF;
  END LOOP;
  RETURN state;
END $$;

CREATE OR REPLACE FUNCTION ringmain_funnel_depth(state timestamptz[])
RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(max(i)::int, 0) FROM generate_subscripts(state, 1) AS i WHERE state[i] IS NOT NULL
$$;

-- ringmain_steps_taken(event, ts, steps, span ORDER BY ts, event_id)
CREATE OR REPLACE AGGREGATE ringmain_steps_taken(event text, at timestamptz, steps text[], span interval) (
  sfunc = ringmain_funnel_step, stype = timestamptz[], finalfunc = ringmain_funnel_depth, initcond = '{}'
);
