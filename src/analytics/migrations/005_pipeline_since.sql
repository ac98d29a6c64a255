-- Since when what is told has been on its way: no event of it was received before. Null: nobody knows (query/pipe.ts).
ALTER TABLE pipeline_lag ADD COLUMN since timestamptz;
