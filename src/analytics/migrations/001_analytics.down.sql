DROP TABLE pipeline_lag, outcome_hours, accepted_hours, day_columns, user_gaps, site_days, rollups, dimension_values, visitor_days,
  refused_events, event_ids, events, visitor_salts, site_changes, site_keys, site_names, sites;
DROP FUNCTION note_site_change;
