-- Names of regions, as the GeoIP database of an api had them when it looked one up (intake/region-names.ts). The code is
-- ISO 3166-2 with its country, DE-BE.
CREATE TABLE region_names (
  code text PRIMARY KEY,
  name text NOT NULL
);
