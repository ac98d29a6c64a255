-- Materialized views on events_json for analysts. Days are UTC. A refresh reads the table once per view: run it every few minutes up to some
-- ten million events; beyond that keep only the newest partitions in the views, or use a column store.
-- Events called ringmain_test are those of TEST_MODE and count nowhere.
-- Each view has a unique index, so that SELECT ringmain_refresh() locks no reader out.

CREATE MATERIALIZED VIEW ringmain_daily_views AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       ringmain_host(payload->>'url') AS host,
       left(coalesce(payload#>>'{geo,country}', ''), 100) AS country,
       left(coalesce(payload#>>'{utm,source}', ''), 100) AS source,
       count(*) AS views
FROM events_json WHERE payload->>'e' = 'pageview'
GROUP BY 1, 2, 3, 4;
CREATE UNIQUE INDEX ON ringmain_daily_views (day, host, country, source);

-- host '*': all hosts together. Visitors are sids, users are uids. Neither may be summed over days or hosts: who came twice is counted once.
CREATE MATERIALIZED VIEW ringmain_daily_uniques AS
SELECT day, CASE WHEN grouping(host) = 1 THEN '*' ELSE host END AS host,
       count(DISTINCT sid) AS visitors, count(DISTINCT uid) AS users, count(*) AS events
FROM (SELECT (ts AT TIME ZONE 'UTC')::date AS day, ringmain_host(payload->>'url') AS host,
             payload->>'sid' AS sid, payload->>'uid' AS uid FROM events_json WHERE payload->>'e' <> 'ringmain_test') AS event
GROUP BY GROUPING SETS ((day), (day, host));
CREATE UNIQUE INDEX ON ringmain_daily_uniques (day, host);

CREATE MATERIALIZED VIEW ringmain_top_paths AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       ringmain_host(payload->>'url') AS host,
       ringmain_path(payload->>'url') AS path,
       count(*) AS views,
       count(DISTINCT payload->>'sid') AS visitors
FROM events_json WHERE payload->>'e' = 'pageview'
GROUP BY 1, 2, 3;
CREATE UNIQUE INDEX ON ringmain_top_paths (day, host, path);

CREATE MATERIALIZED VIEW ringmain_daily_events AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day, left(payload->>'e', 100) AS event, count(*) AS events
FROM events_json WHERE payload->>'e' <> 'ringmain_test' GROUP BY 1, 2;
CREATE UNIQUE INDEX ON ringmain_daily_events (day, event);

-- When the views were made, and what they know.
CREATE MATERIALIZED VIEW ringmain_freshness AS
SELECT 1 AS one, now() AS refreshed_at, max(ts) AS newest_event, count(*) AS events FROM events_json
WHERE payload->>'e' <> 'ringmain_test';
CREATE UNIQUE INDEX ON ringmain_freshness (one);
