"""The commands of `hcl`, one small file per group. Heavy imports happen inside the functions."""
