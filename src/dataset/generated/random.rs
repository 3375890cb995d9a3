//! Random numbers of exact arithmetic, the same on every machine.

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

/// Returns a number in `0..1`, with 24 random bits.
pub(super) fn uniform(rng: &mut Xoshiro256PlusPlus) -> f32 {
    (rng.next_u64() >> 40) as f32 / (1 << 24) as f32
}

/// Returns a nearly normal number, with mean 0 and variance 1: the sum of four uniform numbers of 16 bits, whose
/// variance is 1/3. Exact arithmetic, one draw, and tails that end at 3.5.
pub(super) fn normal(rng: &mut Xoshiro256PlusPlus) -> f32 {
    const SQRT_3: f32 = 1.732_050_8;
    let bits = rng.next_u64();
    let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum();
    (sum as f32 / 65_535.0 - 2.0) * SQRT_3
}

/// Returns `base` to the power of `exponent`, both above 0 or 0, by square roots and products, which IEEE 754 defines to the
/// last bit; the library's power differs between systems.
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    let (mut result, mut factor) = (1.0, base);
    let mut whole = exponent as u32;
    let mut rest = exponent - f64::from(whole);
    while whole > 0 {
        if whole % 2 == 1 {
            result *= factor;
        }
        factor *= factor;
        whole /= 2;
    }
    let mut root = base;
    // 30 bits of the exponent.
    for _ in 0..30 {
        root = root.sqrt();
        rest *= 2.0;
        if rest >= 1.0 {
            rest -= 1.0;
            result *= root;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::power;

    #[test]
    fn powers_are_those_of_the_library() {
        for base in [0.0, 0.01, 0.7, 1.0, 3.5, 1000.0_f64] {
            for exponent in [0.0, 0.5, 0.9, 1.0, 1.37, 2.0, 6.25_f64] {
                let (found, expected) = (power(base, exponent), base.powf(exponent));
                assert!((found - expected).abs() <= 1e-7 * expected.max(1e-9), "{base}^{exponent}");
            }
        }
    }
}
