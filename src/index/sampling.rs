//! Pseudo-random sample positions. A fixed stride could coincide with a pattern in the data.

/// Returns the position of sample `number` among `total`, below `total` unless that is 0.
pub(super) fn scattered(number: u32, total: u32) -> u32 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
    ((u64::from(mixed ^ mixed >> 16) * u64::from(total)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_met_about_equally_often() {
        assert_eq!(scattered(7, 1), 0);
        for total in [10, 1000, u32::MAX] {
            let mut met = [0; 10];
            for number in 0..10_000 {
                let place = scattered(number, total);
                assert!(place < total);
                met[(u64::from(place) * 10 / u64::from(total)) as usize] += 1;
            }
            assert!(met.iter().all(|&count| (900..1100).contains(&count)), "{total}: {met:?}");
        }
    }
}
