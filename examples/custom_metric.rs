//! Metrics of your own: places by the distance on the globe, and recipes by the dearest ingredient that differs.
//!
//! `cargo run --release --example custom_metric`

use nearfield::custom::{CustomMetric, Haversine};
use nearfield::{Hnsw, IndexError};

/// The greatest difference of two components, each times its weight.
struct Dearest {
    prices: Vec<f32>,
}

impl CustomMetric for Dearest {
    /// Files have this name: other prices would need another one.
    fn name(&self) -> &'static str {
        "dearest ingredient, prices of 2026"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = a.iter().zip(b).zip(&self.prices);
        pairs.map(|((a, b), price)| (a - b).abs() * price).fold(0.0, f32::max)
    }
}

fn main() -> nearfield::Result<()> {
    let cities = [
        ("Paris", [48.8566, 2.3522]),
        ("Berlin", [52.52, 13.405]),
        ("Madrid", [40.4168, -3.7038]),
        ("Auckland", [-36.8509, 174.7645]),
        ("Apia", [-13.8333, -171.7667]),
    ];
    let places = Hnsw::builder_with(2, Haversine).build()?;
    for (key, (_, place)) in (0..).zip(&cities) {
        places.insert(key, place)?;
    }
    for (name, place) in [("London", [51.5074, -0.1278]), ("Suva", [-18.1416, 178.4419_f32])] {
        println!("within 3,000 km of {name}:");
        for hit in &places.search(&place).within(3_000_000.0).run()? {
            println!("  {:<9} {:>5.0} km", cities[hit.key as usize].0, hit.distance / 1000.0);
        }
    }

    // Grams of flour, butter and saffron.
    let recipes = [
        ("bread", [500.0, 10.0, 0.0]),
        ("cake", [300.0, 250.0, 0.0]),
        ("buns", [450.0, 80.0, 0.5]),
    ];
    let prices = || vec![0.001, 0.01, 9.0];
    let index = Hnsw::builder_with(3, Dearest { prices: prices() }).build()?;
    for (key, (_, recipe)) in (0..).zip(&recipes) {
        index.insert(key, recipe)?;
    }
    let path = std::env::temp_dir().join(format!("custom-metric-{}.nf", std::process::id()));
    index.save(&path)?;
    // The file has the name of the metric, and opens with it alone.
    println!("{}", Hnsw::open(&path).unwrap_err());
    let again = Hnsw::open_with(&path, Dearest { prices: prices() })?;
    for hit in &again.search(&[480.0, 30.0, 0.0]).k(2).run()? {
        println!("{} differs by {:.2}", recipes[hit.key as usize].0, hit.distance);
    }
    std::fs::remove_file(&path).ok();

    // A kernel that panics fails the call, and no more than that.
    let odd = Hnsw::builder_with(1, Odd).build()?;
    odd.insert(1, &[1.0])?;
    let refused = odd.insert(2, &[-1.0]);
    assert!(matches!(refused, Err(IndexError::MetricPanicked { .. })) && odd.len() == 1);
    Ok(())
}

/// A metric that knows no negative numbers.
struct Odd;

impl CustomMetric for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        assert!(a[0] >= 0.0 && b[0] >= 0.0, "a negative number");
        (a[0].sqrt() - b[0].sqrt()).abs()
    }
}
