//! The oracle of the tests: the formulas of the metrics, word for word, in double precision.
