DROP TABLE note_counts, notes;
