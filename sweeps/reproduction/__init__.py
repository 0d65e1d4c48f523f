"""`hcl reproduce`: a table of the paper, from its file to its own files.

Read the modules in this order: table_file (which cells), request (which seeds, where the records
are), results (what is trained already), trainings (train the rest), then tables and figures with
transfer and embedding_space, and write (the files).
"""
