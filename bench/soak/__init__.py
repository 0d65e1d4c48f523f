"""A soak: real sweeps under random faults, then checks that nothing was lost or counted twice."""
