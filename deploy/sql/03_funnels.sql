-- Funnels by sid: how many visitors took the first step, the first two, ... in this order, within `span` of the first.
-- Define one: INSERT INTO ringmain_funnel_steps VALUES ('signup', ARRAY['pageview', 'signup_open', 'signup_done'], '2 hours');

CREATE TABLE IF NOT EXISTS ringmain_funnel_steps (
  funnel text PRIMARY KEY,
  steps text[] NOT NULL CHECK (cardinality(steps) BETWEEN 1 AND 20 AND array_position(steps, NULL) IS NULL),
  span interval NOT NULL DEFAULT '1 day'
);
INSERT INTO ringmain_funnel_steps VALUES ('purchase', ARRAY['pageview', 'add_to_cart', 'purchase'], '1 day') ON CONFLICT DO NOTHING;

-- Any funnel over any time, computed when asked; an index scan on ts. BEGIN ATOMIC binds the names now: a refresh runs with an empty search_path.
CREATE OR REPLACE FUNCTION ringmain_funnel(steps text[], since timestamptz, before timestamptz, span interval)
RETURNS TABLE (step int, event text, sessions bigint) LANGUAGE sql STABLE
BEGIN ATOMIC
  WITH depth AS (
    SELECT ringmain_steps_taken(payload->>'e', ts, ringmain_funnel.steps, ringmain_funnel.span ORDER BY ts, event_id) AS taken
    FROM events_json
    WHERE ts >= since AND ts < before AND payload->>'e' = ANY (ringmain_funnel.steps) AND payload ? 'sid'
    GROUP BY payload->>'sid'
  )
  SELECT i, ringmain_funnel.steps[i], (SELECT count(*) FROM depth WHERE taken >= i)
  FROM generate_subscripts(ringmain_funnel.steps, 1) AS i ORDER BY i;
END;

-- The defined ones over the last 30 days.
CREATE MATERIALIZED VIEW ringmain_funnels AS
SELECT f.funnel, r.step, r.event, r.sessions,
       round(r.sessions::numeric / nullif(first_value(r.sessions) OVER (PARTITION BY f.funnel ORDER BY r.step), 0), 4) AS share
FROM ringmain_funnel_steps AS f,
     LATERAL ringmain_funnel(f.steps, now() - interval '30 days', now() + interval '1 day', f.span) AS r;
CREATE UNIQUE INDEX ON ringmain_funnels (funnel, step);

-- Renews every view; readers go on reading the old rows meanwhile. For cron or pg_cron.
CREATE OR REPLACE FUNCTION ringmain_refresh() RETURNS void LANGUAGE plpgsql AS $$
DECLARE view_name text;
BEGIN
  FOREACH view_name IN ARRAY ARRAY['ringmain_daily_views', 'ringmain_daily_uniques', 'ringmain_top_paths', 'ringmain_daily_events',
                                   'ringmain_funnels', 'ringmain_freshness'] LOOP
    EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY %I', view_name);
  END LOOP;
END $$;
