//! Flame graphs and heap reports of nearfield.
fn main() {}
