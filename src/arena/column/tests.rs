//! Tests of columns.

use super::*;
use std::sync::atomic::AtomicU64;

#[test]
fn rows_keep_their_place_while_the_column_grows() {
    let column = Column::<u64, u32>::new(3);
    let rows = if cfg!(miri) { 300 } else { 200_000 };
    column.push(|row| row.fill(7)).unwrap();
    let first = column.view().row(0);
    for i in 1..rows {
        assert_eq!(column.push(|row| row.copy_from_slice(&[i, i + 1, i + 2])), Ok(i as u32));
    }
    assert_eq!(first, [7, 7, 7]);
    assert!(std::ptr::eq(first, column.view().row(0)));
    for i in 1..rows {
        assert_eq!(column.view().row(i as u32), [i, i + 1, i + 2]);
    }
    assert!(column.bytes() >= rows as usize * 24);
}

#[test]
fn runs_end_with_a_chunk() {
    // A chunk has 1024 of these rows.
    let column = Column::<u64, u32>::new(4000);
    let rows = if cfg!(miri) { 3 } else { 1026 };
    for i in 0..rows {
        column.push(|row| row.fill(u64::from(i))).unwrap();
    }
    let view = column.view();
    let firsts = |ids| -> Vec<u64> { view.run(ids).chunks(4000).map(|row| row[0]).collect() };
    assert!(firsts(0..0).is_empty());
    assert_eq!(firsts(1..3), [1, 2]);
    if !cfg!(miri) {
        assert_eq!(firsts(1020..1026), [1020, 1021, 1022, 1023]);
        assert_eq!(firsts(1024..1026), [1024, 1025]);
        assert_eq!(firsts(0..1026).len(), 1024);
    }
    let beyond = std::panic::AssertUnwindSafe(|| view.run(0..rows + 1).len());
    assert!(std::panic::catch_unwind(beyond).is_err());
}

#[test]
fn fresh_rows_are_zero_and_views_do_not_grow() {
    let column = Column::<AtomicU64, u32>::new(5);
    let before = column.view();
    column.push(|_| ()).unwrap();
    assert_eq!(before.len(), 0);
    assert!(column.view().row(0).iter().all(|x| x.load(Ordering::Relaxed) == 0));
    let beyond = std::panic::AssertUnwindSafe(|| before.row(0).len());
    assert!(std::panic::catch_unwind(beyond).is_err());
}

#[test]
fn a_panic_while_writing_appends_nothing() {
    let column = Column::<u32, u32>::new(1);
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        column.push(|_| panic!("refused"))
    }));
    assert!(failed.is_err());
    assert_eq!(column.len(), 0);
    assert_eq!(column.push(|row| row[0] = 9), Ok(0));
    assert_eq!(column.view().row(0), [9]);
}

#[test]
fn readers_see_whole_rows_beside_a_writer() {
    let column = Column::<u64, u32>::new(4);
    let rows = if cfg!(miri) { 200 } else { 100_000 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..rows {
                column.push(|row| row.fill(i)).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while column.len() < rows as usize {
                    let view = column.view();
                    if let Some(last) = view.len().checked_sub(1) {
                        assert_eq!(view.row(last), [u64::from(last); 4]);
                    }
                    std::hint::spin_loop();
                }
            });
        }
    });
}

#[test]
fn released_rows_are_written_again() {
    for stride in [1, 3, 700] {
        let (column, slots) = (Column::<u64, u32>::new(stride), Slots::new());
        let rows = if cfg!(miri) { 40 } else { 9000 };
        for i in 0..rows {
            slots.reserve(Slot::new(i)).unwrap();
            column.push(|row| row.fill(u64::from(i))).unwrap();
        }
        (7..rows - 2).for_each(|slot| slots.hide(Slot::new(slot)));
        // SAFETY: no other thread reads the rows of this test.
        unsafe { slots.retire((7..rows - 2).map(Slot::new).collect()) };
        while slots.vacant() == 0 {
            slots.settle(0);
        }
        slots.release(2, |run| column.release(run));
        let at = |id| column.view().row(id);
        for slot in 0..rows {
            if slot < 7 || slot >= rows - 2 {
                assert_eq!(at(slot), vec![u64::from(slot); stride]);
            }
        }
        while let Some(vacant) = slots.take() {
            column.refill(&vacant, |row| row.fill(5));
            vacant.show();
        }
        assert!((7..rows - 2).all(|slot| at(slot).iter().all(|&x| x == 5)));
        assert_eq!(at(6)[0], 6);
    }
}

fn changed(column: &Column<AtomicU32, u32>) -> Vec<(u32, usize)> {
    let mut found = Vec::new();
    for chunk in 0..column.chunks() {
        let first = chunk * Persistent::chunk_rows(column);
        column.changed_rows(chunk, &mut |row, from| found.push((first + row, from)));
    }
    found
}

#[test]
fn rows_that_change_are_known() {
    // A chunk has 65,536 of these rows, or 16,384.
    for (stride, rows) in [(3, 70_000), (512, 20_000)] {
        let rows = if cfg!(miri) { 150 } else { rows };
        let column = Column::<AtomicU32, u32>::new(stride);
        for _ in 0..rows {
            column.push(|_| ()).unwrap();
        }
        // All rows, because no chunk was tracked.
        assert_eq!(changed(&column), (0..rows).map(|row| (row, 0)).collect::<Vec<_>>());
        (0..column.chunks()).for_each(|chunk| column.track(chunk));
        assert_eq!(changed(&column), []);
        let view = column.view();
        view.touch(7, 2);
        view.touch(rows - 1, 1);
        view.touch(64, 1);
        view.touch(64, 2);
        view.touch(63, 2);
        view.touch(63, 0);
        view.touch(100, stride - 1);
        // Changed elements far behind count from an earlier one on.
        let last = (stride - 1).min(254) * 4;
        assert_eq!(changed(&column), [(7, 8), (63, 0), (64, 4), (100, last), (rows - 1, 4)]);
        column.push(|_| ()).unwrap();
        assert_eq!(changed(&column).last(), Some(&(rows, 0)));
        (0..column.chunks()).for_each(|chunk| column.track(chunk));
        assert_eq!(changed(&column), []);
        view.row(9)[1].store(5, Ordering::Relaxed);
        let mut bytes = vec![1];
        column.copy_row(9, 4, &mut bytes);
        assert_eq!((&bytes[..5], bytes.len()), (&[1, 5, 0, 0, 0][..], 1 + stride * 4 - 4));
    }
}

#[test]
fn what_changed_since_is_written_over_a_map() {
    type Source = Result<Piece<'static, Refused>, Refused>;
    #[derive(Debug, PartialEq)]
    struct Refused;
    impl From<ArenaError> for Refused {
        fn from(_: ArenaError) -> Self {
            Self
        }
    }
    impl From<Unsound> for Refused {
        fn from(_: Unsound) -> Self {
            Self
        }
    }
    let map = |len: usize| {
        let mut map = MmapMut::map_anon(len).unwrap();
        map.fill(1);
        map
    };
    let changed = |_, len| -> Source {
        assert_eq!(len, 40_000 * 8);
        let changes = move |rows: Rows<'_>| {
            assert_eq!((rows.bytes.len(), rows.row_bytes, rows.mapped), (len, 8, 160_000));
            rows.bytes[8..12].fill(2);
            rows.bytes[len - 8..].fill(3);
            Ok(())
        };
        Ok(Piece { map: Some(map(160_000)), changes: Some(Box::new(changes)) })
    };
    let column = Column::<u32, u32>::restore(2, 40_000, changed).unwrap();
    let view = column.view();
    assert_eq!(view.row(0), [0x0101_0101; 2]);
    assert_eq!(view.row(1), [0x0202_0202, 0x0101_0101]);
    assert_eq!(view.row(19_999), [0x0101_0101; 2]);
    assert_eq!(view.row(20_000), [0; 2]);
    assert_eq!(view.row(39_999), [0x0303_0303; 2]);
    assert!(column.is_changed(0));
    // No map, and a map shorter than the rows.
    let short = |_, _| -> Source { Ok(map(319_999).into()) };
    assert_eq!(Column::<u32, u32>::restore(2, 40_000, short).err(), Some(Refused));
    let wrong =
        |_, _| -> Source { Ok(Piece { map: None, changes: Some(Box::new(|_| Err(Refused))) }) };
    assert_eq!(Column::<u32, u32>::restore(2, 40_000, wrong).err(), Some(Refused));
}

#[test]
fn rows_wider_than_a_chunk_are_legal() {
    if cfg!(miri) {
        return;
    }
    let column = Column::<u8, u32>::new(40 << 20);
    for i in 0..3 {
        assert_eq!(column.push(|row| row[12] = i), Ok(u32::from(i)));
    }
    assert_eq!(column.view().row(2)[12], 2);
}
