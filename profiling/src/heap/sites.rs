//! Places that allocate, read from a file of dhat.

#[cfg(any(test, feature = "dhat-heap"))]
use std::collections::HashMap;
#[cfg(any(test, feature = "dhat-heap"))]
use std::path::Path;

use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "dhat-heap"))]
use crate::Failure;

/// A place in the code that allocates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Site {
    /// Function, file and line: the innermost frame in nearfield.
    pub(crate) place: String,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Bytes at the moment when all sites together used most.
    pub(crate) peak_bytes: u64,
}

/// The part of the file that is read; its format is that of valgrind's DHAT, version 2.
#[cfg(any(test, feature = "dhat-heap"))]
#[derive(Deserialize)]
struct File {
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

/// A place with its stack, innermost frame first.
#[cfg(any(test, feature = "dhat-heap"))]
#[derive(Deserialize)]
struct Point {
    tb: u64,
    tbk: u64,
    gb: u64,
    fs: Vec<usize>,
}

/// Returns the places with the most allocations, bytes or bytes at the peak: the first `top` of each, by allocations.
#[cfg(any(test, feature = "dhat-heap"))]
pub(super) fn read(json: &[u8], top: usize) -> Result<Vec<Site>, Failure> {
    let file: File = serde_json::from_slice(json)?;
    let mut places: HashMap<String, Site> = HashMap::new();
    for point in &file.pps {
        let place = place(point.fs.iter().filter_map(|&frame| file.ftbl.get(frame)));
        let site = places.entry(place.clone()).or_insert(Site {
            place,
            blocks: 0,
            bytes: 0,
            peak_bytes: 0,
        });
        site.blocks += point.tbk;
        site.bytes += point.tb;
        site.peak_bytes += point.gb;
    }
    let mut sites: Vec<Site> = places.into_values().collect();
    let mut kept = Vec::new();
    for weight in [|s: &Site| s.blocks, |s: &Site| s.bytes, |s: &Site| s.peak_bytes] {
        sites.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.place.cmp(&b.place)));
        for site in sites.iter().take(top).filter(|site| weight(site) > 0) {
            if !kept.contains(site) {
                kept.push(site.clone());
            }
        }
    }
    kept.sort_by(|a, b| b.blocks.cmp(&a.blocks).then_with(|| a.place.cmp(&b.place)));
    Ok(kept)
}

/// Returns the innermost frame of the library, else of this program, else of any code.
#[cfg(any(test, feature = "dhat-heap"))]
fn place<'a>(frames: impl Iterator<Item = &'a String> + Clone) -> String {
    let mut named = frames.map(|frame| name(frame));
    let of = |part: &str| named.clone().find(|(_, file)| file.starts_with(part));
    let found = of("src/").or_else(|| of("profiling/")).or_else(|| named.next());
    found.map_or_else(|| "unknown".to_owned(), |(function, file)| format!("{function} ({file})"))
}

/// Returns function and place of a frame, which reads `0x55d0c0ffee: function<parameters> (file:line:column)`. Of the file,
/// dhat gives the last three parts of its path: the repository's files are found by their existence.
#[cfg(any(test, feature = "dhat-heap"))]
fn name(frame: &str) -> (String, String) {
    let frame = frame.split_once(": ").map_or(frame, |(_, rest)| rest);
    let Some((function, at)) = frame.rsplit_once(" (") else {
        return (crate::sampler::bare(frame), String::new());
    };
    let at = at.trim_end_matches(')');
    let file = at.split(':').next().unwrap_or_default();
    let root = Path::new(crate::results::root()).join("..");
    let whole = ["", "src/"].iter().find(|above| root.join(above).join(file).is_file());
    // A file of another package in a folder `src` is not taken for one of the library.
    (crate::sampler::bare(function), format!("{}{at}", whole.copied().unwrap_or(".../")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_named_by_the_library() {
        let json = br#"{"dhatFileVersion":2,"pps":[
            {"tb":100,"tbk":4,"gb":0,"fs":[1,2,3]},{"tb":50,"tbk":1,"gb":50,"fs":[1,3]},
            {"tb":7,"tbk":7,"gb":0,"fs":[1,2,3]}],
            "ftbl":["[root]","0x1: grow<nearfield::Row> (src/vec/mod.rs:9:1)",
            "0x2: insert<nearfield::Row> (store/tree/insert.rs:7:3)","0x3: main (profiling/src/main.rs:1:1)"]}"#;
        let sites = read(json, 5).unwrap();
        assert_eq!(sites.len(), 2);
        assert_eq!(sites[0].place, "insert (src/store/tree/insert.rs:7:3)");
        assert_eq!((sites[0].blocks, sites[0].bytes, sites[0].peak_bytes), (11, 107, 0));
        assert_eq!(sites[1].place, "main (profiling/src/main.rs:1:1)");
        assert_eq!(sites[1].peak_bytes, 50);
    }

    #[test]
    fn what_is_no_file_of_dhat_is_refused() {
        assert!(read(b"{}", 5).is_err());
    }
}
