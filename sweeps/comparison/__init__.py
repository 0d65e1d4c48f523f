"""`hcl study`: methods compared under one protocol, with equal effort, on fresh seeds.

Read the modules in this order: study_file (what is asked), protocol and plan (which sweeps, which
confirmations), run (what is left of them), verdict (the tables), write (the files).
"""
