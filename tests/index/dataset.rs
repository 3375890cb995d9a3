//! Files of vectors: every format as its writers write it, and every kind of false header.

use std::fs;
use std::path::Path;

use nearfield::dataset::DatasetError as E;
use nearfield::dataset::{Dataset, DatasetError, Generated, GroundTruth, Vectors, recall};
use nearfield::{AsVector, Element, F16, Metric, VectorRef};

use crate::support::files::Folder;

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

#[expect(unsafe_code, reason = "maps are tested too")]
fn map(path: &Path) -> Result<Vectors, DatasetError> {
    // SAFETY: each test has its own folder and leaves its files alone while they are mapped.
    unsafe { Vectors::map(path) }
}

/// Reads and maps a file, and compares both with the expected contents.
fn check(path: &Path, rows: usize, element: Element, expected: &[f32]) {
    for vectors in [Vectors::open(path).unwrap(), map(path).unwrap()] {
        assert_eq!((vectors.len(), vectors.element()), (rows, element), "{}", path.display());
        assert_eq!(vectors.dimension() * rows, expected.len());
        assert_eq!(vectors.to_f32().unwrap(), expected, "{}", path.display());
        assert_eq!(vectors.iter().len(), rows);
        let last = vectors.row(rows - 1).unwrap();
        assert_eq!(last.len(), vectors.dimension());
        let last = Vectors::from_rows(vectors.dimension(), &last).unwrap().to_f32().unwrap();
        assert_eq!(last, expected[expected.len() - vectors.dimension()..]);
        assert!(vectors.row(rows).is_none());
        assert!(vectors.range(rows - 1, 2).is_none() && vectors.range(usize::MAX, 2).is_none());
        assert_eq!(vectors.as_vector().len(), expected.len());
    }
}

#[test]
fn every_format_is_read_and_mapped() {
    let folder = Folder::new("formats");
    let data = [0.5, -2.0, 3.25, 1e-3, 65504.0, -0.0];
    let bytes = floats(&data);
    let bin = [words(&[2, 3]), bytes.clone()].concat();
    check(&folder.write("a.fbin", &bin), 2, Element::F32, &data);
    let vecs = [words(&[3]), bytes[..12].to_vec(), words(&[3]), bytes[12..].to_vec()].concat();
    check(&folder.write("a.fvecs", &vecs), 2, Element::F32, &data);
    // The data begins two bytes off its alignment, so a map cannot be used directly.
    for (pad, name) in [("", "aligned"), (" ", "odd"), ("  ", "even")] {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }}{pad}");
        let path = folder.write(&format!("{name}.npy"), &npy(1, &header, &bytes));
        check(&path, 2, Element::F32, &data);
        check(&folder.write("v2.npy", &npy(2, &header, &bytes)), 2, Element::F32, &data);
        check(&folder.write("v3.npy", &npy(3, &header, &bytes)), 2, Element::F32, &data);
    }
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}\n";
    check(&folder.write("one.npy", &npy(1, header, &bytes)), 1, Element::F32, &data);

    let small = [1.0, 2.0, 127.0, 0.0];
    let halves: Vec<u8> =
        small.iter().flat_map(|&x| F16::from_f32(x).to_bits().to_le_bytes()).collect();
    let head = words(&[2, 2]);
    let path = folder.write("a.f16bin", &[head.clone(), halves.clone()].concat());
    check(&path, 2, Element::F16, &small);
    let path = folder.write("a.u8bin", &[head.clone(), vec![1, 2, 127, 0]].concat());
    check(&path, 2, Element::U8, &small);
    let path = folder.write("a.i8bin", &[head, vec![1, 2, 127, 0xff]].concat());
    check(&path, 2, Element::I8, &[1.0, 2.0, 127.0, -1.0]);
    let path = folder.write("a.bvecs", &[words(&[4]), vec![1, 2, 127, 0]].concat());
    check(&path, 1, Element::U8, &small);
    for (descr, element, data) in [
        ("<f2", Element::F16, halves),
        ("|u1", Element::U8, vec![1, 2, 127, 0]),
        ("|i1", Element::I8, vec![1, 2, 127, 0]),
    ] {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (4, 1)}}");
        check(&folder.write("t.npy", &npy(1, &header, &data)), 4, element, &small);
    }
}

#[test]
fn maps_stay_maps_where_rows_lie_aligned() {
    let folder = Folder::new("maps");
    let bytes = floats(&[1.0; 8]);
    let bin = folder.write("a.fbin", &[words(&[2, 4]), bytes.clone()].concat());
    assert!(map(&bin).unwrap().is_mapped());
    assert!(!Vectors::open(&bin).unwrap().is_mapped());
    let vecs = folder.write("a.fvecs", &[words(&[8]), bytes].concat());
    assert!(!map(&vecs).unwrap().is_mapped());
}

#[test]
fn neighbours_with_distances_and_without() {
    let folder = Folder::new("truth");
    let ids = words(&[4, 1, 0, 9, 8, 7]);
    let distances = [0.0, 1.0, 2.0, 0.5, 0.75, 1e9];
    let head = words(&[2, 3]);
    let all = [head.clone(), ids.clone(), floats(&distances)].concat();
    let truth = GroundTruth::open(folder.write("gt.ibin", &all)).unwrap();
    assert_eq!((truth.len(), truth.k()), (2, 3));
    assert_eq!(truth.ids(1), Some(&[9, 8, 7][..]));
    assert_eq!(truth.distances(1), Some(&distances[3..]));
    assert_eq!(truth.ids(2), None);
    assert_eq!(truth.distances(2), None);
    truth.write_ibin(folder.file("again.ibin")).unwrap();
    assert_eq!(fs::read(folder.file("again.ibin")).unwrap(), all);

    let truth = GroundTruth::open(folder.write("ids.ibin", &[head, ids.clone()].concat())).unwrap();
    assert_eq!((truth.ids(0), truth.distances(0)), (Some(&[4, 1, 0][..]), None));
    truth.write_ibin(folder.file("again.ibin")).unwrap();
    assert_eq!(GroundTruth::open(folder.file("again.ibin")).unwrap(), truth);
    let mark = words(&[3]);
    let vecs = [&mark, &ids[..12], &mark, &ids[12..]].concat();
    assert_eq!(GroundTruth::open(folder.write("gt.ivecs", &vecs)).unwrap(), truth);

    for (k, ids, distances) in
        [(0, vec![], None), (2, vec![1, 2, 3], None), (1, vec![1], Some(vec![])), (1, vec![], None)]
    {
        let made = GroundTruth::from_parts(k, ids, distances);
        assert!(matches!(made, Err(DatasetError::Argument { .. })));
    }
}

#[test]
fn what_is_written_is_read_again() {
    let folder = Folder::new("written");
    let path = folder.file("a.bin");
    for (rows, ending) in [
        (VectorRef::F32(&[1.5, -2.0, f32::MIN_POSITIVE, 0.0]), "fbin"),
        (VectorRef::F16(&[F16::from_bits(1), F16::from_bits(0x7bff)]), "f16bin"),
        (VectorRef::I8(&[-128, 127]), "i8bin"),
        (VectorRef::U8(&[0, 255]), "u8bin"),
    ] {
        let vectors = Vectors::from_rows(2, &rows).unwrap();
        let path = path.with_extension(ending);
        vectors.write_bin(&path).unwrap();
        check(&path, rows.len() / 2, rows.element(), &vectors.to_f32().unwrap());
    }
    let brain = Vectors::from_rows(1, &[nearfield::Bf16::from_f32(1.0)]).unwrap();
    assert!(matches!(brain.write_bin(&path), Err(DatasetError::Element { .. })));
    for (dimension, len) in [(0, 4), (3, 4), (1, 0)] {
        let made = Vectors::from_rows(dimension, &vec![0_u8; len]);
        assert!(matches!(made, Err(DatasetError::Argument { .. })), "{dimension} {len}");
    }
}

/// Opens the file in every way, and expects the same kind of error from each.
fn refused(path: &Path, is_expected: impl Fn(&DatasetError) -> bool) {
    for error in [Vectors::open(path).unwrap_err(), map(path).unwrap_err()] {
        assert!(is_expected(&error), "{error:?}");
        assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    }
}

#[test]
fn files_that_lie_are_refused() {
    let folder = Folder::new("lies");
    let f = |name, bytes: &[u8]| folder.write(name, bytes);
    let matrix = |rows, dimension, bytes| [words(&[rows, dimension]), vec![0; bytes]].concat();
    refused(&f("empty.fbin", &[]), |e| matches!(e, E::Empty { .. }));
    refused(&f("head.fbin", &[0; 7]), |e| matches!(e, E::Length { expected: 8, found: 7, .. }));
    refused(&f("no-rows.fbin", &matrix(0, 4, 0)), |e| matches!(e, E::Empty { .. }));
    refused(&f("no-columns.fbin", &matrix(4, 0, 0)), |e| matches!(e, E::Empty { .. }));
    for bytes in [15, 17] {
        refused(
            &f("length.fbin", &matrix(2, 2, bytes)),
            |e| matches!(*e, E::Length { expected: 24, found, .. } if found == 8 + bytes as u64),
        );
    }
    // The file promises 2^64 - 2^33 + 1 numbers of four bytes.
    let most = matrix(u32::MAX, u32::MAX, 64);
    refused(&f("overflow.fbin", &most), |e| matches!(e, E::TooLarge { .. }));
    refused(&f("overflow.u8bin", &most), |e| matches!(e, E::TooLarge { .. }));
    refused(
        &f("terabytes.u8bin", &matrix(1 << 20, 1 << 20, 64)),
        |e| matches!(*e, E::Length { expected, .. } if expected == 8 + (1 << 40)),
    );

    refused(&f("mark.fvecs", &[1, 0, 0]), |e| matches!(e, E::Length { expected: 4, .. }));
    refused(&f("zero.fvecs", &words(&[0, 0])), |e| matches!(e, E::Empty { .. }));
    refused(&f("short.fvecs", &words(&[3, 0, 0])), |e| matches!(e, E::Length { .. }));
    refused(&f("more.fvecs", &words(&[1, 0, 1])), |e| matches!(e, E::Length { .. }));
    refused(&f("row.fvecs", &words(&[1, 0, 2, 0])), |e| {
        matches!(e, E::RowDimension { row: 1, expected: 1, found: 2, .. })
    });
    refused(&f("huge.bvecs", &words(&[u32::MAX, 0])), |e| matches!(e, E::Length { .. }));

    let shape = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}}}")
    };
    let array = |text: &str| npy(1, text, &[0; 16]);
    refused(&f("magic.npy", b"\x93NUMPX\x01\x00\x00\x00\x00\x00"), |e| {
        matches!(e, E::Header { .. })
    });
    refused(&f("version.npy", &npy(4, "{}", &[0; 8])), |e| matches!(e, E::Header { .. }));
    refused(&f("short.npy", b"\x93NUMPY\x01\x00"), |e| matches!(e, E::Length { .. }));
    refused(&f("head.npy", b"\x93NUMPY\x01\x00\xff\xff{}"), |e| matches!(e, E::Length { .. }));
    refused(&f("long.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), |e| {
        matches!(e, E::Header { .. })
    });
    for (descr, order, dims) in [
        (">f4", "False", "(2, 2)"),
        ("<f8", "False", "(2, 1)"),
        ("<i4", "False", "(2, 2)"),
        ("|O", "False", "(2, 1)"),
        ("<f4", "True", "(2, 2)"),
        ("<f4", "False", "(2, 2, 1)"),
        ("<f4", "False", "()"),
    ] {
        let bytes = array(&shape(descr, order, dims));
        refused(&f("kind.npy", &bytes), |e| matches!(e, E::Unsupported { .. }));
    }
    refused(&f("none.npy", &array(&shape("<f4", "False", "(0, 4)"))), |e| {
        matches!(e, E::Empty { .. })
    });
    let most = shape("|u1", "False", "(4294967296, 4294967296)");
    refused(&f("most.npy", &array(&most)), |e| matches!(e, E::TooLarge { .. }));
    refused(&f("many.npy", &array(&shape("<f4", "False", "(2, 3)"))), |e| {
        matches!(e, E::Length { .. })
    });

    refused(&f("a.txt", b"12345678"), |e| matches!(e, E::Unsupported { .. }));
    refused(&f("none", b"12345678"), |e| matches!(e, E::Unsupported { .. }));
    refused(folder.path(), |e| matches!(e, E::NotAFile { .. }));
    refused(&folder.file("absent.fbin"), |e| matches!(e, E::Io { .. }));

    for (name, bytes) in [
        ("t.ibin", matrix(2, 3, 47)),
        ("t.ibin", matrix(2, 3, 25)),
        ("t.ibin", matrix(0, 3, 0)),
        ("t.ibin", matrix(u32::MAX, u32::MAX, 0)),
        ("t.ivecs", words(&[2, 0, 0, 1, 0, 0])),
        ("t.fbin", words(&[1, 1, 0])),
    ] {
        let error = GroundTruth::open(f(name, &bytes)).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn pipes_are_refused_instead_of_waited_for() {
    let folder = Folder::new("pipes");
    let pipe = folder.file("pipe.fbin");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(matches!(Vectors::open(&pipe), Err(DatasetError::NotAFile { .. })));
    }
    assert!(Vectors::open("/dev/zero").is_err());
}

/// Cuts, stretches and overwrites good files in three thousand ways: the answer is always a matrix
/// that fits its file, or an error.
#[test]
fn mutated_files_never_panic() {
    let folder = Folder::new("mutations");
    let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }   \n";
    let good: [(&str, Vec<u8>); 6] = [
        ("m.fbin", [words(&[3, 2]), vec![1; 24]].concat()),
        ("m.i8bin", [words(&[3, 5]), vec![7; 15]].concat()),
        ("m.fvecs", words(&[2, 0, 0, 2, 0, 0, 2, 0, 0])),
        ("m.bvecs", [[4, 0, 0, 0, 9, 9, 9, 9]; 4].concat()),
        ("m.npy", npy(1, header, &[3; 24])),
        ("m.ibin", words(&[2, 2, 0, 1, 2, 3, 0, 0, 0, 0])),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for round in 0..3_000 {
        let (name, bytes) = &good[round % good.len()];
        let mut bytes = bytes.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len().max(1)).min(bytes.len());
            match random(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, random(256) as u8),
                2 => bytes.extend(vec![0; random(40)]),
                // Writes numbers at the edges, where sizes overflow.
                3 if bytes.len() >= at + 4 => {
                    let edge = [0, 1, u32::MAX, 1 << 31, (1 << 31) - 1, 1 << 30][random(6)];
                    bytes[at..at + 4].copy_from_slice(&edge.to_le_bytes());
                }
                _ if at < bytes.len() => bytes[at] = random(256) as u8,
                _ => (),
            }
        }
        let path = folder.write(name, &bytes);
        let found = if *name == "m.ibin" {
            GroundTruth::open(&path).map(|truth| {
                assert!(truth.iter().len() * truth.k() * 4 <= bytes.len());
            })
        } else {
            let mapped = map(&path).map(|vectors| vectors.to_f32().unwrap().len());
            let opened = Vectors::open(&path).map(|vectors| vectors.to_f32().unwrap().len());
            assert_eq!(mapped.as_ref().ok(), opened.as_ref().ok());
            opened.map(|components| assert!(components <= bytes.len()))
        };
        match found {
            Ok(()) => read += 1,
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
    // Both outcomes occurred often.
    assert!(read > 150 && refused > 600, "{read} {refused}");
}

type Expected = fn(&DatasetError) -> bool;

/// Writes a small folder of a data set, with changes.
fn write_set(folder: &Folder, metric: &str, queries: &[u32], truth: &[u32]) {
    folder.write("base.fbin", &words(&[3, 1, 0, 0, 0]));
    folder.write("query.fbin", &words(queries));
    folder.write("gt.ibin", &words(truth));
    folder.write("meta.json", metric.as_bytes());
}

#[test]
fn folders_hold_together() {
    let folder = Folder::new("folder");
    let good = "{\"metric\": \"euclidean\"}";
    write_set(&folder, good, &[1, 1, 0], &[1, 2, 2, 1]);
    let set = Dataset::open(folder.path()).unwrap();
    assert_eq!(Some(set.name()), folder.path().file_name().and_then(|name| name.to_str()));
    assert_eq!((set.metric(), set.dimension()), (Metric::L2, 1));
    assert_eq!((set.base().len(), set.queries().len(), set.truth().k()), (3, 1, 2));

    let cases: [(&str, &[u32], &[u32], Expected); 6] = [
        (good, &[1, 2, 0, 0], &[1, 2, 2, 1], |e| matches!(e, DatasetError::Mismatch { .. })),
        (good, &[2, 1, 0, 0], &[1, 2, 2, 1], |e| matches!(e, DatasetError::Mismatch { .. })),
        (good, &[1, 1, 0], &[1, 2, 2, 3], |e| {
            matches!(e, DatasetError::NeighborId { query: 0, id: 3, len: 3, .. })
        }),
        ("{\"metric\": \"chebyshev\"}", &[1, 1, 0], &[1, 2, 2, 1], |e| {
            matches!(e, DatasetError::Unsupported { .. })
        }),
        ("{}", &[1, 1, 0], &[1, 2, 2, 1], |e| matches!(e, DatasetError::Header { .. })),
        ("", &[1, 1, 0], &[1, 2, 2, 1], |e| matches!(e, DatasetError::Empty { .. })),
    ];
    for (metric, queries, truth, expected) in cases {
        write_set(&folder, metric, queries, truth);
        let error = Dataset::open(folder.path()).unwrap_err();
        assert!(expected(&error), "{error:?}");
    }
    write_set(&folder, good, &[1, 1, 0], &[1, 2, 2, 1]);
    folder.write("base.u8bin", &[0; 9]);
    let error = Dataset::open(folder.path()).unwrap_err();
    assert!(matches!(error, DatasetError::Part { part: "base", found: 2, .. }), "{error:?}");
    fs::remove_file(folder.file("base.u8bin")).unwrap();
    fs::remove_file(folder.file("gt.ibin")).unwrap();
    let error = Dataset::open(folder.path()).unwrap_err();
    assert!(matches!(error, DatasetError::Part { part: "gt", found: 0, .. }), "{error:?}");
    assert!(Dataset::open(folder.file("absent")).is_err());
}

#[test]
fn a_written_set_is_read_again() {
    let folder = Folder::new("written-set");
    let (base, queries) = Generated::builder(30, 5).queries(4).build().unwrap().into_parts();
    let floats = |vectors: &Vectors| vectors.to_f32().unwrap();
    let expected = (floats(&base), floats(&queries));
    let truth =
        GroundTruth::from_parts(2, vec![0, 1, 2, 3, 4, 5, 6, 29], Some(vec![0.5; 8])).unwrap();
    let set = Dataset::from_parts("made", Metric::Cosine, base, queries, truth.clone()).unwrap();
    let path = folder.path().join("new/set");
    set.write(&path).unwrap();
    let read = Dataset::open(&path).unwrap();
    assert_eq!((read.name(), read.metric(), read.truth()), ("set", Metric::Cosine, &truth));
    assert_eq!((floats(read.base()), floats(read.queries())), expected);
    // A folder is never made ambiguous, nor a set overwritten.
    assert!(matches!(set.write(&path), Err(DatasetError::Io { .. })));
    assert!(matches!(set.write(path.join("base.fbin")), Err(DatasetError::Io { .. })));
}

#[test]
fn the_carried_sets_are_what_their_truth_says() {
    let carried = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data");
    for (name, metric, element, rows, dimension) in [
        ("photo-sift-128-5k", Metric::L2, Element::U8, 5_000, 128),
        ("words-100-10k", Metric::Cosine, Element::F16, 10_000, 100),
    ] {
        let set = Dataset::open(carried.join(name)).unwrap();
        assert_eq!((set.name(), set.metric(), set.element()), (name, metric, element));
        assert_eq!(
            (set.base().len(), set.dimension(), set.queries().len()),
            (rows, dimension, 200)
        );
        // The truth is computed again in f64 for some queries.
        let base = set.base().to_f32().unwrap();
        let queries = set.queries().to_f32().unwrap();
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
        };
        let mut found = Vec::new();
        for (i, query) in queries.chunks_exact(dimension).enumerate().take(20) {
            let norm = dot(query, query);
            let mut all: Vec<(f32, u32)> = base
                .chunks_exact(dimension)
                .enumerate()
                .map(|(id, v)| {
                    let d = match metric {
                        Metric::L2 => norm + dot(v, v) - 2.0 * dot(query, v),
                        _ => 1.0 - dot(query, v) / (norm * dot(v, v)).sqrt(),
                    };
                    (d as f32, id as u32)
                })
                .collect();
            all.sort_by(|a, b| a.partial_cmp(b).unwrap());
            for (near, &d) in all.iter().zip(set.truth().distances(i).unwrap()) {
                assert!((near.0 - d).abs() <= 1e-6 * d.abs().max(1.0), "{} {d}", near.0);
            }
            found.push(all.iter().take(10).map(|&(_, id)| u64::from(id)).collect::<Vec<_>>());
        }
        let share = recall(found, set.truth(), 10).unwrap() * 10.0;
        assert!(share > 0.99, "{share}");
    }
    let words = fs::read_to_string(carried.join("words-100-10k/base.words.txt")).unwrap();
    assert_eq!(words.lines().count(), 10_000);
}

#[test]
fn generated_vectors_are_the_same_on_every_machine() {
    let build = |seed| {
        Generated::builder(300, 33).queries(20).clusters(7).latent(9).seed(seed).build().unwrap()
    };
    let bits = |vectors: &Vectors| {
        let VectorRef::F32(data) = vectors.as_vector() else { panic!("floats") };
        // FNV-1a.
        data.iter()
            .flat_map(|x| x.to_bits().to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash, b| {
                (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
            })
    };
    let set = build(5);
    assert_eq!((set.base().len(), set.queries().len(), set.base().dimension()), (300, 20, 33));
    let all = set.base().to_f32().unwrap();
    assert!(all.iter().all(|x| x.is_finite()));
    let deviation = (all.iter().map(|x| x * x).sum::<f32>() / all.len() as f32).sqrt();
    assert!((0.2..1.0).contains(&deviation), "{deviation}");
    assert_ne!(bits(set.base()), bits(build(6).base()));
    assert_eq!(
        (bits(set.base()), bits(set.queries())),
        (0x938b_14b6_99df_ef96, 0x7128_359e_7ac3_5df7)
    );

    for builder in [
        Generated::builder(0, 4),
        Generated::builder(4, 0),
        Generated::builder(usize::MAX, 4),
        Generated::builder(4, 65_537),
        Generated::builder(4, 4).queries(0),
        Generated::builder(4, 4).latent(0),
        Generated::builder(4, 4).clusters(usize::MAX),
        Generated::builder(4, 4).noise(f32::NAN),
    ] {
        assert!(matches!(builder.build(), Err(DatasetError::Argument { .. })));
    }
}
