//! Attributes beside vectors: searches among the vectors for which a predicate is true.
//!
//! `cargo run --release --example attributes`

use nearfield::{Attributes, Collection, Metric, attributes, field};

/// Title, year, genres, and a vector of how funny, tense and romantic a film is.
const FILMS: [(&str, i64, &[&str], [f32; 3]); 7] = [
    ("Metropolis", 1927, &["drama", "science fiction"], [0.1, 0.7, 0.3]),
    ("Modern Times", 1936, &["comedy"], [0.9, 0.2, 0.4]),
    ("Casablanca", 1942, &["drama", "romance"], [0.2, 0.5, 0.9]),
    ("Rear Window", 1954, &["thriller"], [0.3, 0.9, 0.4]),
    ("Solaris", 1972, &["drama", "science fiction"], [0.0, 0.5, 0.6]),
    ("Alien", 1979, &["horror", "science fiction"], [0.0, 1.0, 0.0]),
    ("Amelie", 2001, &["comedy", "romance"], [0.7, 0.1, 0.9]),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("nearfield-attributes-{}.nf", std::process::id()));
    let films = Collection::builder(3, Metric::Cosine).create(&path)?;

    // Vectors and attributes are committed together or not at all.
    let mut tx = films.begin_write()?;
    for (key, (title, year, genres, vector)) in (0..).zip(FILMS) {
        tx.upsert(key, &vector)?;
        tx.set(key, attributes! { "title" => title, "year" => year, "genres" => genres })?;
    }
    tx.commit()?;

    let tense = [0.0, 1.0, 0.1];
    let show =
        |what: &str, predicate: &nearfield::Predicate| -> Result<(), Box<dyn std::error::Error>> {
            // A selection is a filter for any number of searches.
            let selection = films.matching(predicate)?;
            println!("{what}: {} of {}", selection.len(), films.len());
            for hit in &films.search(&tense).k(2).filter(&selection).run()? {
                let found = films.attributes(hit.key)?.unwrap_or_default();
                println!(
                    "  {} ({}) at {:.3}",
                    text(&found, "title"),
                    text(&found, "year"),
                    hit.distance
                );
            }
            Ok(())
        };
    // Predicates are built, or read from text.
    show("after 1950", &field("year").gt(1950))?;
    show(
        "science fiction, not horror",
        &"genres has 'science fiction' and not genres has 'horror'".parse()?,
    )?;
    show(
        "comedies or romances of the century",
        &"genres any of ('comedy', 'romance') and year >= 2000".parse()?,
    )?;

    println!("genres:");
    for (genre, count) in films.facet("genres")? {
        println!("  {genre}: {count}");
    }

    // All that a predicate selects can be removed.
    let mut tx = films.begin_write()?;
    println!("{} films before 1950 removed", tx.remove_where(&field("year").lt(1950))?);
    tx.commit()?;
    println!("{} left", films.len());

    drop(films);
    std::fs::remove_file(&path)?;
    Ok(())
}

fn text(attributes: &Attributes, name: &str) -> String {
    attributes.get(name).map_or_else(String::new, ToString::to_string)
}
