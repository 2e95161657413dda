"""Coverage-guided fuzzing of what reads text of users: ``make fuzz``, and shortly in the test run."""
