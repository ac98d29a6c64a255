DROP TABLE kept_from;
