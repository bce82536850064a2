"""Plain NumPy and SciPy as the front end: every public function, by one table of calls."""
