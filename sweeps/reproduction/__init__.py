"""`hcl reproduce`: a table of the paper as cells, cells as trainings, trainings as the table."""
