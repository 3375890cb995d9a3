//! Prints the content of a store's file, and whether it is sound.
//!
//! `cargo run --release --example inspect -- FILE [--check]`. Opens the file for reading only, so
//! that another process may have it open.

use nearfield::store::{Store, StoreError};

fn inspect(path: &str, check: bool) -> Result<(), StoreError> {
    let store = Store::open_read_only(path)?;
    let (stats, contents) = (store.stats()?, store.contents()?);
    println!("file           {:>14} bytes, pages of {}", stats.file_bytes, stats.page_size);
    println!("commit         {:>14}", store.begin_read()?.number());
    println!("log            {:>14} bytes, {} in use", stats.log_bytes.0, stats.log_bytes.1);
    println!("reserved       {:>14} pages for meta slots and log", stats.reserved_pages);
    println!(
        "extents        {:>14}, {} bytes in {} pages",
        contents.extents, contents.extent_bytes, contents.extent_pages
    );
    println!();
    println!(
        "{:<24} {:>12} {:>6} {:>10} {:>10} {:>10} {:>14} {:>6}",
        "tree", "entries", "depth", "branches", "leaves", "overflow", "data bytes", "fill"
    );
    for (name, tree) in &contents.trees {
        println!(
            "{name:<24} {:>12} {:>6} {:>10} {:>10} {:>10} {:>14} {:>5.1}%",
            tree.entries,
            tree.depth,
            tree.branch_pages,
            tree.leaf_pages,
            tree.overflow_pages,
            tree.data_bytes,
            tree.fill(stats.page_size) * 100.0
        );
    }
    if check {
        let report = store.check()?;
        println!("\nsound: {} entries, {} pages in use", report.entries, report.used_pages);
    }
    Ok(())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: inspect FILE [--check]");
        std::process::exit(2);
    };
    if let Err(error) = inspect(&path, arguments.next().as_deref() == Some("--check")) {
        eprintln!("{path}: {error}");
        std::process::exit(1);
    }
}
