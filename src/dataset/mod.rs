//! Readers for the data files of the field.
