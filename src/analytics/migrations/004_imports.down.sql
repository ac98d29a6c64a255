DROP TABLE imported_days, import_lines, imports;
