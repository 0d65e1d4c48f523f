"""Tables, statistics, plots and pages, from numbers alone."""
